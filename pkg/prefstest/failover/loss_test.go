package failover

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// position is how far the relay has stored that it came.
const position = "select max_id from outbox_relays"

// announced is how many cleans the topic tells the end of.
func announced(t *testing.T, stage *prefstest.Stage) int {
	t.Helper()
	ends := map[string]bool{}
	for _, r := range stage.Topic(t, prefstest.Cleaned) {
		var event struct {
			EventID string `json:"eventId"`
			Data    struct {
				Final bool `json:"final"`
			} `json:"data"`
		}
		require.NoError(t, json.Unmarshal(r.Value, &event))
		if event.Data.Final {
			ends[event.EventID] = true
		}
	}
	return len(ends)
}

// TestAnAsynchronousStandbyTakesOverAndTheLossIsNoticed has a standby take over
// that lacks the last saves, and the last deletion: a relay says so, events that
// went out before are named by a look at the topics, everything goes on, and the
// deletion is made up for by reading the owner's events again.
func TestAnAsynchronousStandbyTakesOverAndTheLossIsNoticed(t *testing.T) {
	t.Parallel()
	const listed, kept, gone = 30, 6, 1
	primary, standby := pgtest.StartPair(t)
	there, here := on(t, primary), on(t, standby)
	stage := prefstest.NewStageAt(t, urlOf(t, primary, standby), kafkatest.InProcess(t))
	stage.Save(t, []string{"alice", "bob"}, accounts(listed)...)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	load := stage.StartLoad(t, api.URL, prefstest.LoadOptions{Writers: 3, Users: 12, Accounts: listed})
	load.Flow(t, 40)
	remove(t, stage, 0, kept)
	cleaned := func(n int) {
		prefstest.Eventually(t, prefstest.Patience, "deletions are announced", func() bool { return announced(t, stage) == n })
	}
	cleaned(kept)
	var at string
	require.NoError(t, there.QueryRowContext(t.Context(), "select pg_current_wal_lsn()").Scan(&at))
	prefstest.Eventually(t, prefstest.Patience, "the standby has all of that", func() bool {
		return is(t, here, "select pg_last_wal_replay_lsn() >= '"+at+"'")
	})

	cut := time.Now()
	do(t, here, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
	prefstest.Eventually(t, prefstest.Patience, "the standby is cut off", func() bool {
		return is(t, here, "select not exists (select from pg_stat_wal_receiver)")
	})
	load.Flow(t, 40)
	remove(t, stage, kept, kept+gone)
	cleaned(kept + gone)
	var reached, stored int64
	require.NoError(t, here.QueryRowContext(t.Context(), position).Scan(&reached))
	prefstest.Eventually(t, prefstest.Patience, "the relay has stored more than the standby has", func() bool {
		require.NoError(t, there.QueryRowContext(t.Context(), position).Scan(&stored))
		return stored > reached
	})
	away := takeOver(t, load, api, primary, standby)

	prefstest.Eventually(t, prefstest.Patience, "a relay misses commits", func() bool { return missed(t, api, consumer) == 1 })
	saves, lost := load.Count(t)
	require.GreaterOrEqual(t, len(lost), 40, "every save since the cut")
	require.Equal(t, accounts(listed)[kept:], stage.Entities(t, "alice"), "the deletion is lost, too")

	require.Zero(t, consumer.Terminate(t))
	stage.Rewind(t)
	again := stage.Consumer(t, nil)
	cleaned(kept + gone + 1)
	rowless := stage.Rowless(t)
	require.GreaterOrEqual(t, len(rowless), 41)
	stage.Lost = map[uuid.UUID]bool{}
	for _, d := range rowless {
		require.WithinRange(t, d.Time, cut.Add(-time.Second), time.Now(), "only what came after the cut")
		stage.Lost[d.EventID] = true
	}
	report := stage.Settle(t)
	require.Equal(t, kept+gone, report.Cleans)
	require.Equal(t, accounts(listed)[kept+gone:], stage.Entities(t, "alice"))
	stage.Lost = nil
	broken := stage.Delivery(t)
	require.Equal(t, map[string]int{"I4": len(rowless)}, broken.Broken)
	for _, f := range broken.Findings {
		require.True(t, strings.HasSuffix(f.String(), "is in no row: the database does not know what it tells"), f.String())
	}
	require.Zero(t, api.Terminate(t))
	require.Zero(t, again.Terminate(t))
	logs := api.Log() + consumer.Log() + again.Log()
	require.Equal(t, 1, strings.Count(logs, "the database has lost commits"), "it is said once")
	t.Logf("%d saves, %d of them lost, %d events without a row; nobody could save for %s", saves, len(lost), len(rowless), away.Round(time.Millisecond))
}
