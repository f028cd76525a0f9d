package api_test

import (
	"database/sql"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/services/api"
)

// TestAStandbyAnswersOnceItHasReachedTheVersion holds reads that name a version
// to a server that follows the primary, and stays when that is gone.
func TestAStandbyAnswersOnceItHasReachedTheVersion(t *testing.T) {
	t.Parallel()
	primary, standby := pgtest.StartPair(t)
	r := launch(t, primary.URL(), func(c *api.Config) { c.ReplicaURL = config.Secret(standby.URL()) })
	r.becomes(true)
	alice := r.as("alice")
	at := func(version int) answered {
		return alice.send(http.MethodGet, view("minVersion", strconv.Itoa(version)), "")
	}
	conn, err := sql.Open("pgx", standby.URL())
	require.NoError(t, err)
	// reached waits until the standby has a version of Alice's list.
	reached := func(version int) {
		require.Eventually(t, func() bool {
			var there int
			err := conn.QueryRowContext(t.Context(), "select coalesce(max(version), 0) from preference_lists where user_id = 'alice'").Scan(&there)
			return err == nil && there == version
		}, patience, 10*time.Millisecond)
	}
	lag := func() string {
		_, text := r.ask("/metrics")
		_, after, _ := strings.Cut(text, "\nprefs_replica_lag_seconds ")
		value, _, _ := strings.Cut(after, "\n")
		return value
	}

	alice.save("a")
	reached(1)
	require.Equal(t, []string{"a"}, idsOf(at(1).list(http.StatusOK)))
	require.Eventually(t, func() bool { return lag() == "0" }, patience, 10*time.Millisecond)

	_, err = conn.ExecContext(t.Context(), "select pg_wal_replay_pause()")
	require.NoError(t, err)
	alice.save("a", "b")
	require.Equal(t, []string{"a"}, idsOf(at(1).list(http.StatusOK)), "the standby has what was asked for, and is asked first")
	require.Equal(t, []string{"a", "b"}, idsOf(at(2).list(http.StatusOK)), "it does not have this")
	require.Equal(t, []string{"a", "b"}, idsOf(alice.read()), "who names no version is given the newest")
	require.Eventually(t, func() bool { return lag() != "0" }, patience, 10*time.Millisecond)
	_, err = conn.ExecContext(t.Context(), "select pg_wal_replay_resume()")
	require.NoError(t, err)
	reached(2)

	require.NoError(t, primary.Kill())
	require.Equal(t, []string{"a", "b"}, idsOf(at(2).list(http.StatusOK)), "reads that need no more than it has go on")
	alice.send(http.MethodGet, accounts, "").fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	at(3).fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.NoError(t, conn.Close())
	require.NoError(t, primary.Start(t.Context()))
	r.becomes(true)
	alice.save("b")
	require.NoError(t, r.end())
}
