package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/status"
)

// TestWhoLeavesWhileAConnectionIsOpenedCostsNone: a connection that a caller was
// the first to need is there for the next, whatever became of the caller. One
// whose time is up does not wait for it.
func TestWhoLeavesWhileAConnectionIsOpenedCostsNone(t *testing.T) {
	t.Parallel()
	w, through := pgtest.NewWire(t, pgtest.New(t))
	h := openAt(t, through)
	const callers = 5
	var opening atomic.Int64
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	w.Stutter(func() (float64, time.Duration) {
		opening.Add(1)
		<-held
		return 1, 0
	})
	ctx, leave := context.WithCancel(t.Context())
	answers := make(chan error, callers)
	for range callers {
		go func() { _, err := h.List(ctx, "alice", "accounts"); answers <- err }()
	}
	require.Eventually(t, func() bool { return opening.Load() == callers }, 30*time.Second, 5*time.Millisecond)

	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err := h.List(late, "alice", "accounts")
	require.True(t, errors.Is(err, context.DeadlineExceeded) || fault.CodeOf(err) == fault.Unavailable, "%v", err)

	leave()
	release()
	for range callers {
		<-answers // it has its list, or was told that it left
	}
	require.Equal(t, callers, h.store.Stats().OpenConnections)
	require.Empty(t, h.shown(t, "alice"))
	require.Equal(t, callers, h.store.Stats().OpenConnections, "one of them was used")
}

// TestALockedTableHoldsUpOnlyWhoNeedsIt: whoever looks why work on a table stands
// still, or works on others, comes in by a connection that opens meanwhile.
func TestALockedTableHoldsUpOnlyWhoNeedsIt(t *testing.T) {
	t.Parallel()
	h := open(t)
	tx, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), "lock table deleted_entities in access exclusive mode")
	require.NoError(t, err)

	require.NoError(t, h.store.Ping(t.Context()))
	require.NoError(t, h.store.SaveLags(t.Context(), "prefsd", "consumer@1", []status.Lag{{Topic: "account.events", Partition: 1, Records: 5}}))
	s, err := h.store.Status(t.Context(), "main")
	require.NoError(t, err)
	require.Len(t, s.Partitions, 1)
	require.EqualValues(t, 5, s.Partitions[0].Records)
	require.Empty(t, h.shown(t, "u"))
	_, _, err = h.EntityDeleted(t.Context(), delivery("e1"), account("a"), time.Now())
	require.Equal(t, fault.Unavailable, fault.CodeOf(err), "%v", err)

	require.NoError(t, tx.Rollback(t.Context()))
	fresh, _ := h.remove(t, "e1", "a", time.Now())
	require.True(t, fresh)
}

func TestEveryStatementFitsTheSchema(t *testing.T) {
	t.Parallel()
	h := open(t)
	require.NotEmpty(t, postgres.Statements)
	for name, body := range postgres.Statements {
		_, err := h.admin.Prepare(t.Context(), name, body)
		require.NoError(t, err, name)
	}
}
