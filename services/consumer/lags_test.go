package consumer_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/status"
)

// standing is what the database says about consumers.
func (h *house) standing(t *testing.T) status.Status {
	t.Helper()
	s, err := h.store.Status(t.Context(), "main")
	require.NoError(t, err)
	return s
}

func TestLagIsWrittenDownForWhoeverCannotAskTheConsumer(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	client := newClient(t, broker.Addrs())
	require.Equal(t, status.Unknown, h.standing(t).Consumption())
	launch(t, url, broker.Addrs()).awaitReady(t)

	// Nothing can be applied while somebody has the states of entities to himself.
	tx, err := h.admin.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "lock table deleted_entities in access exclusive mode")
	require.NoError(t, err)
	var values [][]byte
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		values = append(values, event(0, deleted, "e-"+id, id, time.Now()).Value)
	}
	publish(t, client, values...)
	h.await(t, "select 1 where (select count(*) from consumer_lags) = 6 and (select sum(lag) from consumer_lags) = 5")
	s := h.standing(t)
	require.Equal(t, status.Current, s.Consumption())
	var behind []int64
	for _, p := range s.Partitions {
		require.Equal(t, "prefsd", p.Group)
		require.True(t, strings.HasPrefix(p.Owner, "consumer@"), p.Owner)
		if p.Records > 0 {
			require.Equal(t, accountEvents, p.Topic)
			behind = append(behind, p.Records)
		}
	}
	require.Equal(t, []int64{5}, behind, "all of one partition")

	require.NoError(t, tx.Rollback())
	h.await(t, "select 1 where (select sum(lag) from consumer_lags) = 0")
	require.Equal(t, 5, h.count(t, "select count(*) from inbox where outcome = 'applied'"))
}

// A number that nobody can renew must not look like one of this moment.
func TestLagGrowsOldWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	broker, err := devkafka.Start(devkafka.Config{Topics: []devkafka.Topic{
		{Name: accountEvents, Partitions: 1},
		{Name: userEvents, Partitions: 1},
		{Name: "preferences.events", Partitions: 1},
		{Name: "preferences.cleaned", Partitions: 1},
		{Name: deadLetters, Partitions: 1},
	}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	h := openAt(t, url)
	launch(t, url, broker.Addrs()).awaitReady(t)
	h.await(t, "select 1 where (select count(*) from consumer_lags) = 2")
	require.NoError(t, broker.Close())
	h.await(t, "select 1 where (select max(updated_at) from consumer_lags) < clock_timestamp() - interval '12 s'")
	_, err = h.admin.ExecContext(t.Context(), "update consumer_lags set updated_at = updated_at - interval '30 s'")
	require.NoError(t, err)
	require.Equal(t, status.Stale, h.standing(t).Consumption())
}
