package consumer_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
	"github.com/prefsd/prefsd/services/consumer"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	accountEvents = "account.events"
	userEvents    = "user.events"
	deadLetters   = "preferences.dead-letters"
)

// house is a consumer on a database of its own.
type house struct {
	*consumer.Consumer
	prefs *preferences.Service
	store *postgres.Store
	admin *sql.DB
	log   *bytes.Buffer
	polls atomic.Int64 // how often a clean was left to the runner

	mu      sync.Mutex
	samples []consumer.Sample
}

// change is a last-minute difference to how a house is built.
type change func(*consumer.Options)

// behind puts another store between the use cases and the database.
func behind(wrap func(preferences.Store) preferences.Store) change {
	return func(o *consumer.Options) {
		real, ok := o.Store.(*postgres.Store)
		if !ok {
			panic("a house stands on PostgreSQL")
		}
		o.Preferences = preferences.New(preferences.Options{Store: wrap(real), Announcer: announcer})
	}
}

var announcer = preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}

func open(t *testing.T, changes ...change) *house {
	t.Helper()
	return openAt(t, pgtest.New(t), changes...)
}

func openAt(t *testing.T, url string, changes ...change) *house {
	t.Helper()
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 8, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	admin, err := postgres.Plain(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	h := &house{prefs: preferences.New(preferences.Options{Store: store, Announcer: announcer}), store: store, admin: admin, log: &bytes.Buffer{}}
	o := consumer.Options{
		Preferences: h.prefs, Domains: preferences.DefaultDomains(), UserEvents: userEvents, Store: store, Group: "prefsd", DeadLetters: deadLetters,
		Version: "v1.2.3", Log: slog.New(slog.NewTextHandler(h.log, nil)), Sweep: func() { h.polls.Add(1) },
		Record: func(s consumer.Sample) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.samples = append(h.samples, s)
		},
	}
	for _, c := range changes {
		c(&o)
	}
	h.Consumer, err = consumer.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { h.sound(t) })
	return h
}

// sound holds every promise that the database can show against what the story
// left, and every event that it wrote against its schema.
func (h *house) sound(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	require.NoError(t, h.store.Snapshot(ctx, func(src verify.Source) error {
		report, err := verify.Database(ctx, src)
		require.Empty(t, report.Findings)
		require.NoError(t, err)
		told, failed := verify.Contract(ctx, src)
		require.Empty(t, told.Findings)
		return failed
	}))
}

// outcomes returns what has been recorded since the last call.
func (h *house) outcomes() []consumer.Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []consumer.Outcome
	for _, s := range h.samples {
		out = append(out, s.Outcome)
	}
	h.samples = nil
	return out
}

// save replaces a list by plain entities.
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

// shown is what a reader sees: "id:order".
func (h *house) shown(t *testing.T, user string) []string {
	t.Helper()
	l, err := h.prefs.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	out := []string{}
	for _, it := range l.Items {
		out = append(out, fmt.Sprintf("%s:%d", it.EntityID, it.Order))
	}
	return out
}

// event is a record as the owner of accounts publishes it.
func event(offset int64, typ, id, account string, at time.Time) events.Record {
	value := fmt.Sprintf(`{"eventType":%q,"eventId":%q,"timestamp":%q,"data":{"accountId":%q,"accountName":"A"}}`,
		typ, id, at.UTC().Format(time.RFC3339Nano), account)
	return record(offset, []byte(account), []byte(value))
}

func record(offset int64, key, value []byte, headers ...events.Header) events.Record {
	return events.Record{Topic: accountEvents, Partition: 2, Offset: offset, Time: time.Now(), Key: key, Value: value, Headers: headers}
}

// settle settles a record and returns what became of it.
func (h *house) settle(t *testing.T, r events.Record) consumer.Outcome {
	t.Helper()
	require.NoError(t, h.Settle(t.Context(), r, 1))
	all := h.outcomes()
	require.Len(t, all, 1)
	return all[0]
}

func (h *house) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, h.admin.QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

// told returns what the events of a type say, in order, each held against its
// schema.
func told[T any](t *testing.T, h *house, typ events.Type) []T {
	t.Helper()
	rows, err := h.admin.QueryContext(t.Context(), "select payload from outbox where type = $1 order by id", string(typ))
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var out []T
	for rows.Next() {
		var payload []byte
		var envelope struct{ Data T }
		require.NoError(t, rows.Scan(&payload))
		require.NoError(t, events.Validate(typ, events.SchemaVersion, payload))
		require.NoError(t, json.Unmarshal(payload, &envelope))
		out = append(out, envelope.Data)
	}
	require.NoError(t, rows.Err())
	return out
}

func (h *house) cleaned(t *testing.T) []events.Cleaned {
	t.Helper()
	return told[events.Cleaned](t, h, events.PreferencesCleaned)
}

// letter is a dead letter as the outbox holds it.
type letter struct {
	key, value []byte
	headers    map[string]string
}

func (h *house) letters(t *testing.T) []letter {
	t.Helper()
	rows, err := h.admin.QueryContext(t.Context(), `select record_key, headers, payload from outbox
		where type = 'dead.letter' and topic = $1 and schema_version = 0 and aggregatetype = 'dead-letter' order by id`, deadLetters)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var out []letter
	for rows.Next() {
		l := letter{headers: map[string]string{}}
		var stored []byte
		require.NoError(t, rows.Scan(&l.key, &stored, &l.value))
		var pairs [][2]string
		require.NoError(t, json.Unmarshal(stored, &pairs))
		for _, p := range pairs {
			value, err := base64.StdEncoding.DecodeString(p[1])
			require.NoError(t, err)
			l.headers[p[0]] = string(value)
		}
		out = append(out, l)
	}
	require.NoError(t, rows.Err())
	return out
}

// hold locks a user's lists as a writer would, until release is called.
func (h *house) hold(t *testing.T, user string) (release func()) {
	t.Helper()
	tx, err := h.admin.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "select 1 from preference_lists where user_id = $1 for no key update", user)
	require.NoError(t, err)
	released := false
	release = func() {
		if !released {
			released = true
			require.NoError(t, tx.Rollback())
		}
	}
	t.Cleanup(release)
	return release
}
