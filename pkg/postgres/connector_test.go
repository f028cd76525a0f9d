package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

// TestWhoLeavesWhileAConnectionIsOpenedCostsNone: a connection that a caller was
// the first to need is there for the next, whatever became of the caller. One
// whose time is up does not wait for it.
func TestWhoLeavesWhileAConnectionIsOpenedCostsNone(t *testing.T) {
	t.Parallel()
	h := open(t)
	const callers = 5
	locker, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	defer func() { _ = locker.Close(context.WithoutCancel(t.Context())) }()
	tx, err := locker.Begin(t.Context())
	require.NoError(t, err)
	// It keeps new connections from being prepared, and nothing else.
	_, err = tx.Exec(t.Context(), "lock table preference_lists in share mode")
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	answers := make(chan error, callers)
	for range callers {
		go func() { _, err := h.List(ctx, "alice", "accounts"); answers <- err }()
	}
	require.Eventually(t, func() bool {
		return h.count(t, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == callers
	}, 30*time.Second, 5*time.Millisecond)

	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = h.List(late, "alice", "accounts")
	require.True(t, errors.Is(err, context.DeadlineExceeded) || fault.CodeOf(err) == fault.Unavailable, "%v", err)

	leave()
	require.NoError(t, tx.Rollback(t.Context()))
	for range callers {
		<-answers // it has its list, or was told that it left
	}
	require.Equal(t, callers, h.store.Stats().OpenConnections)
	require.Empty(t, h.shown(t, "alice"))
	require.Equal(t, callers, h.store.Stats().OpenConnections, "one of them was used")
}
