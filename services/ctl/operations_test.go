package ctl_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
	"github.com/prefsd/prefsd/services/ctl"
)

// shop is a deployment whose runner works while run does.
type shop struct {
	*preferences.Service
	store *postgres.Store
	vars  map[string]string
}

func openShop(t *testing.T) *shop {
	t.Helper()
	url := pgtest.New(t)
	announcer := preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 4, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &shop{preferences.New(preferences.Options{Store: store, Announcer: announcer}), store, map[string]string{"PREFS_DATABASE_URL": url}}
}

// run starts a runner; stop ends it and waits.
func (s *shop) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	works := map[preferences.OperationKind]operations.Work{preferences.KindBulkClean: s.Service, preferences.KindVerify: &verify.Runs{Store: s.store}} //nolint:exhaustive // no other is called for
	runner := operations.NewRunner(operations.Options{Store: s.store, Works: works, Owner: "runner", Log: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func (s *shop) save(t *testing.T, user string, ids ...string) {
	t.Helper()
	in := make([]preferences.Input, len(ids))
	for i, id := range ids {
		in[i].EntityID = id
	}
	_, err := s.Replace(t.Context(), user, "accounts", preferences.By{Actor: user}, preferences.Terms{}, in)
	require.NoError(t, err)
}

func (s *shop) shown(t *testing.T, user string) (ids []string) {
	t.Helper()
	l, err := s.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	for _, it := range l.Items {
		ids = append(ids, it.EntityID)
	}
	return ids
}

// clean calls for a bulk clean that waits for a runner.
func (s *shop) clean(t *testing.T, ids ...string) string {
	t.Helper()
	all := make([]preferences.Entity, len(ids))
	for i, id := range ids {
		all[i] = preferences.Entity{Type: "account", ID: id}
	}
	o, err := s.BulkClean(t.Context(), preferences.By{Actor: "ops"}, all, true, true)
	require.NoError(t, err)
	return o.ID.String()
}

var spaces = regexp.MustCompile(` +\n`)

func TestOperationsAreWatchedAndTakenBack(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.save(t, "u1", "a", "x", "y")
	s.save(t, "u2", "y")
	id := s.clean(t, "x", "y")

	r := prefsctl(t, s.vars, "operations", "ls")
	require.Equal(t, ctl.Done, r.code, r.err)
	table(t, "OPERATION                             KIND       STATE    PROGRESS  CREATED              ACTOR\n"+
		id+"  bulkClean  pending  0 of 3    TIME  ops\n", r.out)
	require.Equal(t, ctl.Done, prefsctl(t, s.vars, "operations", "show", id).code, "what goes on is well")

	stop := s.run(t)
	r = prefsctl(t, s.vars, "operations", "watch", "operations/"+id, "--every=1ms")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, "succeeded")
	require.Equal(t, []string{"a"}, s.shown(t, "u1"))

	r = prefsctl(t, s.vars, "operations", "undo", id, "--watch", "--actor=boss")
	require.Equal(t, ctl.Done, r.code, r.err)
	out := spaces.ReplaceAllString(times.ReplaceAllString(r.out, "TIME"), "\n")
	require.Contains(t, out, "undo       2 of 2 lists, 3 items restored, by boss\n")
	require.Contains(t, out, "account x  succeeded, 1 items\n")
	stop()
	require.Equal(t, []string{"a", "x", "y"}, s.shown(t, "u1"))
	require.Equal(t, []string{"y"}, s.shown(t, "u2"))

	r = prefsctl(t, s.vars, "operations", "undo", id)
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "compensated")
}

func TestAnOperationIsCancelledFromTheCommandLine(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.save(t, "u", "x")
	id := s.clean(t, "x")
	r := prefsctl(t, s.vars, "operations", "cancel", id)
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Equal(t, "operation "+id+": pending, about to stop\n", r.out)
	stop := s.run(t)
	r = prefsctl(t, s.vars, "operations", "watch", id)
	stop()
	require.Equal(t, ctl.Amiss, r.code, r.err)
	r = prefsctl(t, s.vars, "operations", "show", id)
	require.Equal(t, ctl.Amiss, r.code, r.err)
	require.Contains(t, r.out, "account x  not begun, 0 items\n", "its turn will not come any more")

	var shown struct {
		Operations []struct{ Name, State, Actor string }
	}
	r = prefsctl(t, s.vars, "operations", "ls", "--json", "--state=cancelled", "--kind=bulkClean")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &shown))
	require.Equal(t, []struct{ Name, State, Actor string }{{"operations/" + id, "cancelled", "ops"}}, shown.Operations)
	require.NotContains(t, prefsctl(t, s.vars, "operations", "ls", "--state=failed").out, id)
}

func TestALookAtTheDatabaseIsShownWithWhatItFound(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.save(t, "u", "x", "y")
	db, err := postgres.Plain(s.vars["PREFS_DATABASE_URL"])
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "delete from preferences where entity_id = 'y'")
	require.NoError(t, errors.Join(err, db.Close()))
	o, err := s.BeginRun(t.Context(), preferences.By{Actor: "ops"}, preferences.KindVerify, preferences.RunRequest{})
	require.NoError(t, err)

	stop := s.run(t)
	r := prefsctl(t, s.vars, "operations", "watch", o.ID.String(), "--every=1ms")
	stop()
	require.Equal(t, ctl.Done, r.code, r.err)
	out := spaces.ReplaceAllString(r.out, "\n")
	require.Contains(t, out, "progress    1 of 1 lists\n")
	require.Regexp(t, `(?m)^violations  [1-9]`, out)
	require.Regexp(t, `(?m)^I8          1 violations of: The history of a list`, out)
	require.Regexp(t, `(?m)^I8          list [0-9]+: `, out, "a sample")

	var shown struct {
		Report verify.Quality
	}
	r = prefsctl(t, s.vars, "operations", "show", o.ID.String(), "--json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &shown))
	require.False(t, shown.Report.Sound)
}

func TestMisusedOperations(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"PREFS_DATABASE_URL": pgtest.New(t)}
	for _, args := range []string{"show x", "ls --state=open", "cancel", "undo operations/1"} {
		r := prefsctl(t, vars, append([]string{"operations"}, strings.Fields(args)...)...)
		require.Equal(t, ctl.Misused, r.code, args)
	}
	r := prefsctl(t, vars, "operations", "show", "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "no such operation")
}
