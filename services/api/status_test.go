package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/status"
)

// standing is what /status says.
type standing struct {
	Time   time.Time
	Outbox struct {
		OldestUnpublishedAgeSeconds float64
		Unpublished, Quarantined    int
		Leader                      *string
		Paused                      bool
	}
	Relay struct {
		Name   string
		HasRun bool
	}
	Operations  struct{ Open, Failed int }
	DeadLetters struct {
		Count  int
		Recent []struct {
			Group, Topic, EventID string
			Partition, Offset     int
		}
	}
	Consumption string
	Consumers   []struct {
		Group, Topic, Owner string
		Partition, Lag      int
		AgeSeconds          float64
		Stale               bool
	}
	Reconciliation, Verification struct {
		LastReport *struct {
			Operation, State string
			Summary          map[string]any
		}
	}
}

func (w *world) standing() (out standing) {
	w.Helper()
	w.system().send(http.MethodGet, "/status", "").is(http.StatusOK).into(&out)
	return out
}

func TestStatusOfADeploymentThatHasJustBegun(t *testing.T) {
	w := begin(t)
	s := w.standing()
	require.WithinDuration(t, time.Now(), s.Time, time.Minute)
	require.Zero(t, s.Outbox.Unpublished)
	require.Nil(t, s.Outbox.Leader)
	require.Equal(t, "main", s.Relay.Name)
	require.False(t, s.Relay.HasRun)
	require.Equal(t, "unknown", s.Consumption, "no consumer has ever said anything")
	require.Empty(t, s.Consumers)
	require.Nil(t, s.Reconciliation.LastReport)
	w.system().send(http.MethodGet, "/status?all=1", "").fails(http.StatusBadRequest, "INVALID_FIELD", "all")
}

func TestStatusTellsWhatWaits(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a", "b")
	w.async("a")
	_, err := w.db.ExecContext(t.Context(), `insert into inbox (consumer, topic, event_id, partition, kafka_offset, outcome, processed_at)
		select 'prefsd', 'account.events', 'e' || n, 1, n, case when n % 2 = 0 then 'dead_lettered' else 'applied' end, now() + n * interval '1 s'
		from generate_series(1, 30) n`)
	require.NoError(t, err)
	s := w.standing()
	require.Equal(t, 1, s.Outbox.Unpublished)
	require.Positive(t, s.Outbox.OldestUnpublishedAgeSeconds)
	require.Equal(t, 1, s.Operations.Open)
	require.Zero(t, s.Operations.Failed)
	require.Equal(t, 15, s.DeadLetters.Count)
	require.Len(t, s.DeadLetters.Recent, 10)
	require.Equal(t, "e30", s.DeadLetters.Recent[0].EventID, "the newest first")
	require.Equal(t, 30, s.DeadLetters.Recent[0].Offset)
	require.Equal(t, "prefsd", s.DeadLetters.Recent[0].Group)

	w.work(func() {})
	require.Zero(t, w.standing().Operations.Open)
	_, err = w.db.ExecContext(t.Context(), "update operations set state = 'failed'")
	require.NoError(t, err)
	require.Equal(t, 1, w.standing().Operations.Failed)
}

func TestStatusTellsOldWordsOfConsumersFromNewOnes(t *testing.T) {
	w := begin(t)
	save := func(owner string, lags ...status.Lag) {
		t.Helper()
		require.NoError(t, w.store.SaveLags(t.Context(), "prefsd", owner, lags))
	}
	save("one", status.Lag{Topic: "account.events", Partition: 1, Records: 7}, status.Lag{Topic: "account.events", Partition: 0, Records: 3})
	save("two", status.Lag{Topic: "account.events", Partition: 1, Records: 5})
	save("two")
	s := w.standing()
	require.Equal(t, "current", s.Consumption)
	require.Len(t, s.Consumers, 2)
	require.Equal(t, 3, s.Consumers[0].Lag)
	require.Equal(t, "one", s.Consumers[0].Owner)
	require.Equal(t, 5, s.Consumers[1].Lag, "who has the partition now has the last word")
	require.Equal(t, "two", s.Consumers[1].Owner)
	require.Less(t, s.Consumers[1].AgeSeconds, 20.0)

	age := func(partition int, by string) {
		t.Helper()
		_, err := w.db.ExecContext(t.Context(), "update consumer_lags set updated_at = now() - $2::interval where partition = $1", partition, by)
		require.NoError(t, err)
	}
	age(0, "31 s")
	s = w.standing()
	require.Equal(t, "stale", s.Consumption)
	require.True(t, s.Consumers[0].Stale)
	require.InDelta(t, 31, s.Consumers[0].AgeSeconds, 20)
	require.False(t, s.Consumers[1].Stale)

	age(0, "8 days")
	age(1, "8 days")
	save("three", status.Lag{Topic: "account.events", Partition: 1, Records: 0})
	s = w.standing()
	require.Equal(t, "current", s.Consumption)
	require.Len(t, s.Consumers, 1, "what nobody has said anything about for a week is forgotten")
	require.Equal(t, "three", s.Consumers[0].Owner)
}

func TestStatusTellsTheLastReconciliation(t *testing.T) {
	w := begin(t)
	w.system().send(http.MethodPost, "/operations:reconcile", "").is(http.StatusAccepted)
	require.Nil(t, w.standing().Reconciliation.LastReport, "it goes on")
	held, found, err := w.store.Claim(t.Context(), "here", time.Minute, preferences.KindReconcile)
	require.NoError(t, err)
	require.True(t, found)
	report := reconcile.Report{Processed: 9, Found: 1, Unconfirmed: 1, Entities: []reconcile.Item{{EntityType: "account", EntityID: "a", Action: reconcile.Missing}}}
	require.NoError(t, w.store.End(t.Context(), held, preferences.Succeeded, report, nil))
	last := w.standing().Reconciliation.LastReport
	require.NotNil(t, last)
	require.Equal(t, "operations/"+held.ID.String(), last.Operation)
	require.Equal(t, "succeeded", last.State)
	require.InDelta(t, 9, last.Summary["processed"], 0)
	require.NotContains(t, last.Summary, "entities", "the operation itself names them")
}

// TestAReconciliationSaysWhatItFound: its report is what the operation answers,
// also where the run was broken off.
func TestAReconciliationSaysWhatItFound(t *testing.T) {
	w := begin(t)
	show := func(report reconcile.Report, state preferences.OperationState, cause error) operation {
		t.Helper()
		var begun operation
		w.system().send(http.MethodPost, "/operations:reconcile", "").is(http.StatusAccepted).into(&begun)
		held, _, err := w.store.Claim(t.Context(), "here", time.Minute, preferences.KindReconcile)
		require.NoError(t, err)
		require.NoError(t, w.store.End(t.Context(), held, state, report, cause))
		return w.operation(begun)
	}
	done := show(reconcile.Report{
		Processed: 3, Found: 1, Reconciled: 1, Lifted: 1, Entities: []reconcile.Item{{EntityType: "account", EntityID: "a", Action: reconcile.Lifted}},
	}, preferences.Succeeded, nil)
	require.Nil(t, done.Error)
	require.JSONEq(t, `{"dryRun":false,"processed":3,"found":1,"reconciled":1,"cleaned":0,"lifted":1,"failed":0,"unconfirmed":0,
		"entities":[{"entityType":"account","entityId":"a","action":"lifted"}]}`, string(done.Response))

	broken := show(reconcile.Report{Processed: 500, Exception: "OWNER_UNAVAILABLE", Entities: []reconcile.Item{}}, preferences.Failed,
		fault.New(fault.Unavailable, fault.ReasonOwnerUnavailable, "It is away."))
	require.Equal(t, "OWNER_UNAVAILABLE", broken.Error.Code)
	require.Contains(t, broken.Error.Message, "nothing was done")
	require.Contains(t, string(broken.Response), `"processed":500`)
}
