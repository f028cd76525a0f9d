package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// counting counts the cleans that are at their end.
const counting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"

// TestAVeryLargeCleanEndsAndNobodyWaitsForIt: to count whom it took something
// from takes longer than any other statement and any other call may.
func TestAVeryLargeCleanEndsAndNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists = 2500
	h.seed(t, lists)
	_, err := h.admin.Exec(t.Context(), `
		create function take_long() returns trigger language plpgsql as $$ begin perform pg_sleep(9); return new; end $$;
		create trigger take_long before update of affected_users on operation_steps for each row execute function take_long()`)
	require.NoError(t, err)
	other, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(t.Context()) })
	busy, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = busy.Exec(t.Context(), "select 1 from preference_lists where user_id = 'user-7' for update")
	require.NoError(t, err)

	_, open := h.remove(t, "e1", "x", time.Now())
	require.True(t, open)
	held, _ := h.claim(t, "runner", time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(t.Context(), held, nothing) }()
	until(t, "one list is left", func() bool { return h.count(t, "select count(*) from preferences where entity_id = 'x'") == 1 })
	require.NoError(t, busy.Rollback(t.Context()))
	began := time.Now()
	until(t, "it counts", func() bool { return h.count(t, counting) == 1 })

	require.Equal(t, lists, h.count(t, "select count(*) from (select 1 from preference_lists for update nowait) l"), "no list is locked")
	require.Empty(t, h.save(t, "user-7", "b", "a").Skipped)
	_, err = h.EntityRestored(t.Context(), delivery("e2"), account("x"), time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, h.save(t, "user-7", "x").Skipped)
	require.Equal(t, 1, h.count(t, counting), "all of that while it counts")

	require.NoError(t, <-ended)
	o, err := h.Operation(t.Context(), held.ID)
	require.NoError(t, err)
	require.Equal(t, preferences.Succeeded, o.State)
	require.EqualValues(t, lists, o.Cleaned.AffectedUsers)
	require.Greater(t, time.Since(began), 9*time.Second, "which is longer than statement_timeout and than a call may take")
	told := h.cleaned(t)
	last := told[len(told)-1]
	require.True(t, last.Final && last.Complete)
	require.EqualValues(t, lists, last.TotalDeleted)
	require.Equal(t, []string{"x:1"}, h.shown(t, "user-7"))
}
