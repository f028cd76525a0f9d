package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// house is a service on a database of its own.
type house struct {
	*preferences.Service
	store     *postgres.Store
	announcer preferences.Announcer
	url       string
	trips     *trips
	admin     *pgx.Conn
}

// trips counts round trips: every batch is one, and so is every plain query. It
// remembers which statements of batches the server refused, and why.
type trips struct {
	n       atomic.Int64
	mu      sync.Mutex
	refused []string
}

func (t *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t.n.Add(1)
	return ctx
}
func (t *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (t *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	t.n.Add(1)
	return ctx
}

func (t *trips) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	if refusal, ok := errors.AsType[*pgconn.PgError](d.Err); ok {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.refused = append(t.refused, d.SQL+": "+refusal.Code)
	}
}
func (t *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// during returns how many round trips fn made.
func (t *trips) during(fn func()) int64 {
	before := t.n.Load()
	fn()
	return t.n.Load() - before
}

func open(t *testing.T) *house {
	t.Helper()
	return openAt(t, pgtest.New(t))
}

func openAt(t *testing.T, url string) *house {
	t.Helper()
	return openWith(t, postgres.Config{URL: url})
}

func openWith(t *testing.T, cfg postgres.Config) *house {
	t.Helper()
	h := start(t, cfg)
	t.Cleanup(func() {
		for _, f := range h.findings(t) {
			t.Error(f)
		}
	})
	return h
}

func openUnchecked(t *testing.T, url string) *house {
	t.Helper()
	return start(t, postgres.Config{URL: url})
}

func start(t *testing.T, cfg postgres.Config) *house {
	t.Helper()
	announcer := preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}
	count := &trips{}
	cfg.MaxConns, cfg.Announcer, cfg.Tracer = 12, announcer, count
	store, err := postgres.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	admin, err := pgx.Connect(t.Context(), cfg.URL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	return &house{preferences.New(preferences.Options{Store: store, Announcer: announcer, Patience: time.Minute}), store, announcer, cfg.URL, count, admin}
}

var alice = preferences.By{Actor: "alice", RequestID: "r-1"}

// save replaces a list by plain entities.
func (h *house) save(t *testing.T, user string, ids ...string) preferences.Result {
	t.Helper()
	res, err := h.Replace(t.Context(), user, "accounts", alice, preferences.Terms{}, inputs(ids...))
	require.NoError(t, err)
	return res
}

func inputs(ids ...string) []preferences.Input {
	in := make([]preferences.Input, len(ids))
	for i, id := range ids {
		in[i] = preferences.Input{EntityID: id}
	}
	return in
}

// shown is what a reader sees: "id:order", and attributes where there are any.
func (h *house) shown(t *testing.T, user string) []string {
	t.Helper()
	l, err := h.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	return show(l)
}

func show(l preferences.List) []string {
	out := make([]string, len(l.Items))
	for i, it := range l.Items {
		out[i] = fmt.Sprintf("%s:%d", it.EntityID, it.Order)
		if string(it.Attributes) != "{}" {
			out[i] += string(it.Attributes)
		}
	}
	return out
}

// count answers a query of one number.
func (h *house) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, h.admin.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

// cleaned returns the events that announce cleans, in order.
func (h *house) cleaned(t *testing.T) []events.Cleaned {
	t.Helper()
	rows, err := h.admin.Query(t.Context(), "select payload from outbox where type = 'preferences.cleaned' order by id")
	require.NoError(t, err)
	payloads, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	require.NoError(t, err)
	out := make([]events.Cleaned, len(payloads))
	for i, p := range payloads {
		require.NoError(t, json.Unmarshal(p, &struct{ Data *events.Cleaned }{&out[i]}))
	}
	return out
}

var account = func(id string) preferences.Entity { return preferences.Entity{Type: "account", ID: id} }

func delivery(id string) preferences.Delivery {
	return preferences.Delivery{Consumer: "prefsd", Topic: "account.events", EventID: id, Partition: 1, Offset: 7}
}

// remove delivers a deletion.
func (h *house) remove(t *testing.T, event, id string, at time.Time) (fresh, open bool) {
	t.Helper()
	fresh, open, err := h.EntityDeleted(t.Context(), delivery(event), account(id), at)
	require.NoError(t, err)
	return fresh, open
}

func nothing() {}

// findings is what is wrong with what the story left, by every invariant that
// a database shows. Each story ends with it.
func (h *house) findings(t *testing.T) (all []verify.Finding) {
	t.Helper()
	ctx := context.Background() // the test's own is over when it is cleaned up
	require.NoError(t, h.store.Snapshot(ctx, func(src verify.Source) error {
		report, err := verify.Database(ctx, src)
		told, failed := verify.Contract(ctx, src)
		all = append(report.Findings, told.Findings...)
		return errors.Join(err, failed)
	}))
	return all
}
