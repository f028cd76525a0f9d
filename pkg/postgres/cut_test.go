package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func openWired(t *testing.T) (*house, *pgtest.Wire) {
	t.Helper()
	h, w := openWiredUnchecked(t)
	t.Cleanup(func() { require.Empty(t, h.findings(t)) })
	return h, w
}

func openWiredUnchecked(t *testing.T) (*house, *pgtest.Wire) {
	t.Helper()
	w, through := pgtest.NewWire(t, pgtest.New(t))
	h := openUnchecked(t, through)
	require.NoError(t, h.store.Ping(t.Context())) // the connection is there
	return h, w
}

func TestACommitWhoseAnswerIsLostIsNeverRepeated(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b", "c")
	orders := [][]string{{"b", "a", "c"}, {"a", "b", "c"}}
	w.Cut(pgtest.Cut{Mark: pgtest.Committing, Bytes: pgtest.Everything})
	h.save(t, "u", orders[0]...)
	whole := w.Answered()
	require.Positive(t, whole)

	version := 2
	unknown := 0
	for i, arrived := range []int{0, 1, whole / 2, whole - 12, whole - 7, whole - 6, whole - 1, whole} {
		w.Cut(pgtest.Cut{Mark: pgtest.Committing, Bytes: arrived})
		_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs(orders[(i+1)%2]...))
		require.True(t, w.Fired())
		if err != nil {
			unknown++
			require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err), "%d of %d bytes", arrived, whole)
			require.Equal(t, fault.Unavailable, fault.CodeOf(err))
		}
		version++
		require.Equal(t, version, h.version(t), "%d of %d bytes: once, and never twice", arrived, whole)
	}
	require.Equal(t, 5, unknown, "a commit whose answer has been read is done, whatever follows")
}

// version is what a reader gets who has lost no connection.
func (h *house) version(t *testing.T) int {
	t.Helper()
	return h.count(t, "select version from preference_lists where user_id = 'u'")
}

func TestACommitThatNeverLeftIsAsUnknown(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b")
	w.Cut(pgtest.Cut{Mark: pgtest.Committing, Before: true})
	_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b", "a"))
	require.True(t, w.Fired())
	require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err))
	require.Equal(t, 1, h.version(t))
	h.save(t, "u", "b", "a")
	require.Equal(t, 2, h.version(t))
}

func TestAConnectionThatDiesBeforeTheCommitIsReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]pgtest.Cut{
		"the list was never asked for": {Mark: "list\x00", Before: true},
		"the list never came":          {Mark: "list\x00"},
		"half of the list came":        {Mark: "list\x00", Bytes: 200},
		"the lock was never asked for": {Mark: "ensure\x00", Before: true},
		"the lock was taken":           {Mark: "ensure\x00"},
		"the tombstones never came":    {Mark: "tombstones\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, w := openWired(t)
			w.Cut(c)
			res := h.save(t, "u", "a", "b")
			require.True(t, w.Fired())
			require.Equal(t, preferences.Summary{Created: 2, Total: 2}, res.Summary)
			require.Equal(t, 1, h.version(t))
		})
	}
}

func TestADeletionWhoseCommitIsLostIsDoneOnceWhenItComesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]pgtest.Cut{
		"the state's answer is lost":      {Mark: "entitystate\x00"},
		"the state never left":            {Mark: "entitystate\x00", Before: true},
		"the clean's rows are lost":       {Mark: "chunkclean\x00"},
		"the clean's end is lost":         {Mark: "opfinish\x00"},
		"the clean's commit is lost":      {Mark: pgtest.Committing, Skip: 1},
		"the clean's commit never left":   {Mark: pgtest.Committing, Skip: 1, Before: true},
		"the inbox's answer never came":   {Mark: "seen\x00"},
		"the operation's insert is lost":  {Mark: "opinsert\x00"},
		"the victims' answer is cut half": {Mark: "victims\x00", Bytes: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, w := openWired(t)
			h.save(t, "u", "a", "x", "b")
			w.Cut(c)
			at := time.Now()
			for range 2 {
				_, _, err := h.EntityDeleted(t.Context(), delivery("e1"), account("x"), at)
				if err != nil {
					require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err))
				}
			}
			require.True(t, w.Fired())
			require.Equal(t, 2, h.version(t))
			require.Len(t, h.cleaned(t), 1)
			h.published(t)
			require.Empty(t, h.broken(t))
		})
	}
}

func TestAStoreWithoutAServerSaysSo(t *testing.T) {
	t.Parallel()
	h, w := openWiredUnchecked(t)
	h.save(t, "u", "a")
	require.NoError(t, w.Close())
	w.Cut(pgtest.Cut{Mark: "list\x00"})
	_, err := h.List(t.Context(), "u", "accounts")
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	_, err = h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b"))
	require.Equal(t, fault.ReasonUnavailable, fault.ReasonOf(err), "nothing was sent: the outcome is known")
	require.Error(t, h.store.Ping(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.List(ctx, "u", "accounts")
	require.True(t, errors.Is(err, context.Canceled) || fault.CodeOf(err) == fault.Unavailable)
}
