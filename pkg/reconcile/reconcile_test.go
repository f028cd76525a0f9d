package reconcile_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var announcer = preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}

// owner has every account but those that it misses, or fails.
type owner struct {
	misses []string
	err    error
	asked  func() // before each answer
}

// Missing implements reconcile.Directory.
func (o *owner) Missing(_ context.Context, ids []string) ([]string, error) {
	if o.asked != nil {
		o.asked()
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(o.misses, id) }), o.err
}

// house is a reconciler on a database of its own.
type house struct {
	store *postgres.Store
	prefs *preferences.Service
	admin *sql.DB
	rec   *reconcile.Reconciler
	seen  []reconcile.Report
	log   bytes.Buffer
}

var tester = preferences.By{Actor: "tester"}

// soon makes two sightings in a row enough.
const soon = time.Nanosecond

func open(t *testing.T, owner reconcile.Directory, confirmAfter time.Duration) *house {
	t.Helper()
	url := pgtest.New(t)
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 4, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	admin, err := postgres.Plain(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	h := &house{store: store, prefs: preferences.New(preferences.Options{Store: store, Announcer: announcer}), admin: admin}
	h.rec = reconcile.New(reconcile.Options{
		Store: store, Directories: map[string]reconcile.Directory{"account": owner}, ConfirmAfter: confirmAfter,
		Observe: func(r reconcile.Report) { h.seen = append(h.seen, r) }, Log: slog.New(slog.NewTextHandler(&h.log, nil)),
	})
	t.Cleanup(func() {
		require.NoError(t, store.Snapshot(context.WithoutCancel(t.Context()), func(src verify.Source) error {
			report, err := verify.Database(context.WithoutCancel(t.Context()), src)
			require.Empty(t, report.Findings)
			return err
		}))
	})
	return h
}

func (h *house) save(t *testing.T, user string, ids ...string) preferences.Result {
	t.Helper()
	in := make([]preferences.Input, len(ids))
	for i, id := range ids {
		in[i] = preferences.Input{EntityID: id}
	}
	res, err := h.prefs.Replace(t.Context(), user, "accounts", preferences.By{Actor: user}, preferences.Terms{}, in)
	require.NoError(t, err)
	return res
}

func (h *house) shown(t *testing.T, user string) []string {
	t.Helper()
	l, err := h.prefs.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	out := []string{}
	for _, it := range l.Items {
		out = append(out, it.EntityID)
	}
	return out
}

func (h *house) count(t *testing.T, query string) (n int) {
	t.Helper()
	require.NoError(t, h.admin.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

// turn runs a reconciliation, and the cleans that it has opened, to their ends.
func (h *house) turn(t *testing.T, request string) (preferences.Operation, reconcile.Report) {
	t.Helper()
	o, r := h.compare(t, request)
	h.clean(t)
	return o, r
}

// compare runs a reconciliation to its end, and none of what it has opened.
func (h *house) compare(t *testing.T, request string) (preferences.Operation, reconcile.Report) {
	t.Helper()
	var asked preferences.RunRequest
	require.NoError(t, json.Unmarshal([]byte(request), &asked))
	o, err := h.prefs.BeginRun(t.Context(), tester, preferences.KindReconcile, asked)
	require.NoError(t, err)
	held, found, err := h.store.Claim(t.Context(), "here", time.Minute, preferences.KindReconcile)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, o.ID, held.ID)
	require.NoError(t, h.rec.Run(t.Context(), held, func() {}))
	return h.outcome(t, o.ID)
}

func (h *house) clean(t *testing.T) {
	t.Helper()
	for {
		clean, found, err := h.store.Claim(t.Context(), "here", time.Minute, preferences.KindBulkClean)
		require.NoError(t, err)
		if !found {
			return
		}
		require.NoError(t, h.prefs.Run(t.Context(), clean, func() {}))
	}
}

func (h *house) outcome(t *testing.T, id uuid.UUID) (preferences.Operation, reconcile.Report) {
	t.Helper()
	o, err := h.store.Operation(t.Context(), id)
	require.NoError(t, err)
	var r reconcile.Report
	require.NoError(t, json.Unmarshal(o.Report, &r))
	require.Equal(t, r, h.seen[len(h.seen)-1], "what is observed is what is kept")
	return o, r
}

func TestOnlyWhatIsMissedTwiceIsCleaned(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"a2"}}
	h := open(t, o, soon)
	h.save(t, "u1", "a1", "a2", "a3")
	h.save(t, "u2", "a2")

	op, r := h.turn(t, `{}`)
	require.Equal(t, preferences.Succeeded, op.State)
	require.Equal(t, reconcile.Report{
		Processed: 3, Found: 1, Unconfirmed: 1, Entities: []reconcile.Item{{EntityType: "account", EntityID: "a2", Action: reconcile.Missing}},
	}, r)
	require.Equal(t, []string{"a1", "a2", "a3"}, h.shown(t, "u1"))

	_, r = h.turn(t, `{}`)
	require.EqualValues(t, 1, r.Reconciled)
	require.Equal(t, reconcile.Cleaned, r.Entities[0].Action)
	require.Regexp(t, "^operations/", r.Clean)
	require.Equal(t, []string{"a1", "a3"}, h.shown(t, "u1"))
	require.Empty(t, h.shown(t, "u2"))
	require.Equal(t, 1, h.count(t, "select count(*) from outbox where type = 'preferences.cleaned' and convert_from(payload, 'UTF8')::jsonb -> 'data' ->> 'final' = 'true'"))
	require.Len(t, h.save(t, "u2", "a2").Skipped, 1, "it cannot be added again")

	_, r = h.turn(t, `{}`)
	require.Zero(t, r.Found)
	require.Zero(t, h.count(t, "select count(*) from orphan_sightings"))
}

func TestOneThatIsSeenInBetweenBeginsAnew(t *testing.T) {
	t.Parallel()
	o := &owner{}
	h := open(t, o, soon)
	h.save(t, "u", "a1", "a2")
	for _, misses := range [][]string{{"a2"}, {}, {"a2"}, {"a1"}, {"a2"}} {
		o.misses = misses
		_, r := h.turn(t, `{}`)
		require.Zero(t, r.Reconciled)
	}
	require.Equal(t, []string{"a1", "a2"}, h.shown(t, "u"))
}

func TestSightingsThatAreTooCloseConfirmNothing(t *testing.T) {
	t.Parallel()
	h := open(t, &owner{misses: []string{"a2"}}, time.Hour)
	h.save(t, "u", "a1", "a2")
	for range 3 {
		_, r := h.turn(t, `{}`)
		require.EqualValues(t, 1, r.Unconfirmed)
	}
	require.Equal(t, []string{"a1", "a2"}, h.shown(t, "u"))
	_, err := h.admin.ExecContext(t.Context(), "update orphan_sightings set first_seen = first_seen - interval '61 minutes'")
	require.NoError(t, err)
	h.turn(t, `{}`)
	require.Equal(t, []string{"a1"}, h.shown(t, "u"))
}

func TestADryRunReportsAndChangesNothing(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"a2"}}
	h := open(t, o, soon)
	h.save(t, "u", "a1", "a2")
	for range 3 {
		op, r := h.turn(t, `{"dryRun":true}`)
		require.Equal(t, preferences.Succeeded, op.State)
		require.True(t, r.DryRun)
		require.EqualValues(t, 1, r.Found)
		require.Len(t, r.Entities, 1)
	}
	require.Equal(t, []string{"a1", "a2"}, h.shown(t, "u"))
	require.Zero(t, h.count(t, "select (select count(*) from orphan_sightings) + (select count(*) from deleted_entities)"))
}

// TestNothingIsRemovedOnTheWordOfAnOwnerThatIsNotWell: not by a first answer of
// that kind, and not by a second, whatever was seen before.
func TestNothingIsRemovedOnTheWordOfAnOwnerThatIsNotWell(t *testing.T) {
	t.Parallel()
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, body)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"500":              func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"slow":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"empty":            say(`{}`),
		"empty lists":      say(`{"accounts":[],"notFound":[]}`),
		"no body":          say(``),
		"cut off":          say(`{"accounts":[{"id":"a1"}],"notFound":["a2"`),
		"one left out":     say(`{"accounts":[{"id":"a1"}],"notFound":["a2"]}`),
		"page of a portal": func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			client, err := directory.New(directory.Config{URL: server.URL, Timeout: 100 * time.Millisecond})
			require.NoError(t, err)
			t.Cleanup(client.Close)
			h := open(t, client, soon)
			h.save(t, "u", "a1", "a2", "a3")
			_, err = h.admin.ExecContext(t.Context(), "insert into orphan_sightings (entity_type, entity_id, first_seen, last_seen) values ('account', 'a2', 'epoch', 'epoch')")
			require.NoError(t, err)
			for range 2 {
				op, r := h.turn(t, `{}`)
				require.Equal(t, preferences.Failed, op.State)
				require.Equal(t, fault.ReasonOwnerUnavailable, op.Failure.Reason)
				require.Equal(t, "OWNER_UNAVAILABLE", r.Exception)
			}
			require.Equal(t, 2, strings.Count(h.log.String(), "level=WARN"), "an operator reads of each")
			require.Contains(t, h.log.String(), "reason=OWNER_UNAVAILABLE")
			require.Equal(t, []string{"a1", "a2", "a3"}, h.shown(t, "u"))
			require.Equal(t, 1, h.count(t, "select count(*) from orphan_sightings where sightings = 1"))
			require.Zero(t, h.count(t, "select count(*) from deleted_entities"))
		})
	}
}

func TestMoreThanAnOrdinaryDayExplainsIsNotBelieved(t *testing.T) {
	t.Parallel()
	o := &owner{}
	h := open(t, o, soon)
	var ids []string
	for i := range 600 {
		ids = append(ids, fmt.Sprintf("a%03d", i))
	}
	h.save(t, "u", ids...)
	for missing, believed := range map[int]bool{31: false, 600: false, 30: true} {
		o.misses = ids[:missing]
		op, r := h.turn(t, `{"dryRun":true}`)
		require.EqualValues(t, 600, r.Processed)
		require.Equal(t, believed, op.State == preferences.Succeeded, "%d of 600", missing)
		if !believed {
			require.Equal(t, reconcile.ReasonTooManyMissing, op.Failure.Reason)
		}
	}
	o.misses = ids[:31]
	for range 2 {
		h.turn(t, `{}`)
	}
	require.Len(t, h.shown(t, "u"), 600)
	require.Zero(t, h.count(t, "select count(*) from orphan_sightings"))

	h.save(t, "u", ids[:21]...)
	o.misses = ids[:20] // few enough, whatever share that is
	h.turn(t, `{}`)
	h.turn(t, `{}`)
	require.Equal(t, ids[20:21], h.shown(t, "u"))
}

func TestWhatTheOwnerHasMayBeListedAgain(t *testing.T) {
	t.Parallel()
	h := open(t, &owner{}, soon)
	h.save(t, "u", "a1", "a2")
	_, err := h.prefs.EntityRestored(t.Context(), preferences.Delivery{Consumer: "c", Topic: "t", EventID: "e0"}, preferences.Entity{Type: "account", ID: "a9"}, time.Now())
	require.NoError(t, err)
	_, _, err = h.prefs.EntityDeleted(t.Context(), preferences.Delivery{Consumer: "c", Topic: "t", EventID: "e1"}, preferences.Entity{Type: "account", ID: "a2"}, time.Now())
	require.NoError(t, err)
	require.Len(t, h.save(t, "u", "a1", "a2").Skipped, 1)

	_, r := h.turn(t, `{"dryRun":true}`)
	require.EqualValues(t, 1, r.Found)
	require.Len(t, h.save(t, "u", "a1", "a2").Skipped, 1)
	_, r = h.turn(t, `{}`)
	require.Equal(t, []reconcile.Item{{EntityType: "account", EntityID: "a2", Action: reconcile.Lifted}}, r.Entities)
	require.EqualValues(t, 1, r.Reconciled)
	require.Empty(t, h.save(t, "u", "a1", "a2").Skipped)
}

// TestAnEventThatComesDuringTheRunWins: it is newer than the first question.
func TestAnEventThatComesDuringTheRunWins(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"a2"}}
	h := open(t, o, soon)
	h.save(t, "u", "a1", "a2")
	h.turn(t, `{}`)
	o.asked = func() {
		_, err := h.prefs.EntityRestored(t.Context(), preferences.Delivery{Consumer: "c", Topic: "t", EventID: "e"}, preferences.Entity{Type: "account", ID: "a2"}, time.Now().Add(time.Second))
		require.NoError(t, err)
		o.asked = nil
	}
	_, r := h.turn(t, `{}`)
	require.NotEmpty(t, r.Clean)
	require.Equal(t, []string{"a1", "a2"}, h.shown(t, "u"))
}

// TestWhatHasLeftDuringTheRunIsNotCleanedAgain: another run's clean, which was
// open when this one began to ask, is done when it has been answered.
func TestWhatHasLeftDuringTheRunIsNotCleanedAgain(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"x", "y"}}
	h := open(t, o, soon)
	h.save(t, "u", "a", "x", "y")
	h.compare(t, "{}")
	o.asked = func() {
		o.asked = nil
		_, err := h.prefs.BulkClean(t.Context(), tester, []preferences.Entity{{Type: "account", ID: "x"}}, true, false)
		require.NoError(t, err)
	}
	_, report := h.compare(t, "{}")
	require.EqualValues(t, 1, report.Cleaned, "y alone")
	h.clean(t)
	require.Equal(t, []string{"a"}, h.shown(t, "u"))
	require.Equal(t, 1, h.count(t, "select count(*) from operation_steps where entity_id = 'x'"))
}

func TestARunThatIsCancelledSettlesNothing(t *testing.T) {
	t.Parallel()
	o := &owner{misses: []string{"a2"}}
	h := open(t, o, soon)
	h.save(t, "u", "a1", "a2")
	h.turn(t, `{}`)
	o.asked = func() {
		var id uuid.UUID
		require.NoError(t, h.admin.QueryRowContext(t.Context(), "select id from operations where state = 'running'").Scan(&id))
		_, err := h.prefs.CancelOperation(t.Context(), id, tester, false)
		require.NoError(t, err)
	}
	op, _ := h.turn(t, `{}`)
	require.Equal(t, preferences.Cancelled, op.State)
	require.Equal(t, []string{"a1", "a2"}, h.shown(t, "u"))
	require.Equal(t, 1, h.count(t, "select count(*) from orphan_sightings where sightings = 1"))
}
