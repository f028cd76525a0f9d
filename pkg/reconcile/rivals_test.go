package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
)

// TestWhatIsBeingCleanedIsNotCleanedAgain: a clean may take longer than it is to
// the next run.
func TestWhatIsBeingCleanedIsNotCleanedAgain(t *testing.T) {
	t.Parallel()
	h := open(t, &owner{misses: []string{"a2"}}, soon)
	h.save(t, "u", "a1", "a2")
	for _, cleaned := range []int64{0, 1, 0} {
		_, r := h.compare(t, `{}`)
		require.Equal(t, cleaned, r.Cleaned)
	}
	h.clean(t)
	require.Equal(t, []string{"a1"}, h.shown(t, "u"))
	require.Equal(t, 1, h.count(t, "select count(*) from operations where kind = 'bulkClean'"))
	require.Equal(t, 1, h.count(t, "select count(*) from outbox where type = 'preferences.cleaned'"), "it is told once")
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	h := open(t, &owner{}, soon)
	var ids [8]uuid.UUID
	var all errgroup.Group
	for i := range ids {
		all.Go(func() error {
			o, err := h.prefs.BeginRun(t.Context(), tester, preferences.KindReconcile, preferences.RunRequest{})
			ids[i] = o.ID
			return err
		})
	}
	require.NoError(t, all.Wait())
	require.Len(t, slices.Compact(ids[:]), 1, "whoever comes second gets the run of the first")
	_, err := h.prefs.BeginRun(t.Context(), tester, preferences.KindReconcile, preferences.RunRequest{DryRun: true})
	require.Equal(t, fault.ReasonAlreadyExists, fault.ReasonOf(err), "a run that changes things is no dry one")
	o, err := h.prefs.BeginRun(t.Context(), tester, preferences.KindVerify, preferences.RunRequest{})
	require.NoError(t, err)
	require.NotEqual(t, ids[0], o.ID, "runs of two kinds are not in each other's way")
}

func TestWhoeverLostARunSettlesNothing(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"a2"}}
	h := open(t, o, soon)
	h.save(t, "u", "a1", "a2")
	_, err := h.prefs.BeginRun(t.Context(), tester, preferences.KindReconcile, preferences.RunRequest{})
	require.NoError(t, err)
	held, _, err := h.store.Claim(t.Context(), "here", time.Minute, preferences.KindReconcile)
	require.NoError(t, err)
	_, err = h.admin.ExecContext(t.Context(), "update operations set epoch = epoch + 1")
	require.NoError(t, err)
	require.Equal(t, fault.Aborted, fault.CodeOf(h.rec.Run(t.Context(), held, func() {})))
	_, err = h.store.Settle(t.Context(), held, reconcile.Findings{Missing: []preferences.Entity{{Type: "account", ID: "a2"}}})
	require.Equal(t, fault.Aborted, fault.CodeOf(err))
	require.Zero(t, h.count(t, "select count(*) from orphan_sightings"))
	require.True(t, strings.HasPrefix(held.Cause, "operation:"))
}
