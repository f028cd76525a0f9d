package ctl_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/services/ctl"
)

// owner misses these, or cannot be asked.
type owner struct {
	missing []string
	err     error
}

// Missing implements reconcile.Directory.
func (o owner) Missing(context.Context, []string) ([]string, error) { return o.missing, o.err }

// reconciled runs the command while somebody does what it asks for.
func reconciled(t *testing.T, url string, o owner, args ...string) result {
	t.Helper()
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		rec := reconcile.New(reconcile.Options{Store: store, Directories: map[string]reconcile.Directory{"account": o}})
		for {
			held, found, err := store.Claim(t.Context(), "consumer", time.Minute, preferences.KindReconcile)
			if err == nil && found {
				err = rec.Run(t.Context(), held, func() {})
			}
			if err != nil || found {
				ended <- err
				return
			}
		}
	}()
	r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": url}, append([]string{"reconcile", "--every=10ms"}, args...)...)
	require.NoError(t, <-ended)
	require.NoError(t, store.Close())
	return r
}

func TestReconcileShowsWhatWasFound(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	prefs := preferences.New(preferences.Options{Store: store})
	_, err = prefs.Replace(t.Context(), "u", "accounts", preferences.By{Actor: "u"}, preferences.Terms{}, []preferences.Input{{EntityID: "a1"}, {EntityID: "a2"}})
	require.NoError(t, err)

	r := reconciled(t, url, owner{missing: []string{"a2"}}, "--dry-run", "--json")
	require.Equal(t, ctl.Done, r.code, r.err)
	var shown struct {
		State  string
		Report reconcile.Report
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &shown))
	require.Equal(t, "succeeded", shown.State)
	require.True(t, shown.Report.DryRun)
	require.Equal(t, []reconcile.Item{{EntityType: "account", EntityID: "a2", Action: reconcile.Missing}}, shown.Report.Entities)

	r = reconciled(t, url, owner{missing: []string{"a2"}})
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, "waiting for a second run")
	require.Contains(t, r.out, "account a2")
	show := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": url}, "operations", "show", strings.Fields(r.out)[1])
	require.Equal(t, ctl.Done, show.code, show.err)
	require.Regexp(t, `(?m)^progress +2 of 2 entities *$`, show.out)
	require.Regexp(t, `(?m)^missing +account a2 *$`, show.out)

	r = reconciled(t, url, owner{err: fault.New(fault.Unavailable, fault.ReasonOwnerUnavailable, "away")})
	require.Equal(t, ctl.Amiss, r.code, r.err)
	require.Contains(t, r.out, "failed")
}
