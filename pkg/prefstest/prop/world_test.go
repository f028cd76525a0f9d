package prop

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
	"github.com/prefsd/prefsd/pkg/verify"
	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/consumer"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	accountEvents = "account.events"
	userEvents    = "user.events"
)

// domains are two that list the same accounts, so that an account stands in two lists of a user.
var domains = []string{"accounts", "pinned"}

var announcer = preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}

// world is the API behind HTTP and the consumer, on a database of their own. The runs of a property share it: each has users and
// accounts of its own.
type world struct {
	*testing.T

	url      string
	http     *http.Client
	key      *auth.DevKey
	store    *postgres.Store
	prefs    *preferences.Service
	consumer *consumer.Consumer
	db       *sql.DB

	outcome consumer.Outcome // of the record that was settled last
	offset  int64
	outbox  int64 // the newest row that was looked at
	runs    int
	seen    map[string]int // what has happened, and how often
}

func begin(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, seen: map[string]int{}}
	url := pgtest.New(t)
	var all []preferences.Domain
	for _, name := range domains {
		d := preferences.DefaultDomains().All()[0]
		d.Name = name
		all = append(all, d)
	}
	known, err := preferences.NewDomains(all)
	require.NoError(t, err)
	w.store, err = postgres.Open(postgres.Config{URL: url, MaxConns: 4, Cache: 1 << 20, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	w.db, err = postgres.Plain(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.db.Close()) })
	w.prefs = preferences.New(preferences.Options{Store: w.store, Domains: known, Announcer: announcer})
	w.consumer, err = consumer.New(consumer.Options{
		Preferences: w.prefs, Domains: known, UserEvents: userEvents, Store: w.store, Group: "prefsd", DeadLetters: "preferences.dead-letters",
		Version: "test", Log: slog.New(slog.DiscardHandler), Record: func(s consumer.Sample) { w.outcome = s.Outcome },
	})
	require.NoError(t, err)
	w.serve(known)
	return w
}

func (w *world) serve(known preferences.Domains) {
	w.Helper()
	var err error
	w.key, err = auth.NewDevKey()
	require.NoError(w, err)
	log := slog.New(slog.DiscardHandler)
	verifier, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: w.key}, log)
	require.NoError(w, err)
	server := httptest.NewServer(api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier, Log: log, Timeout: 10 * time.Second, About: api.About{Version: "test", Domains: known},
	}))
	w.Cleanup(server.Close)
	w.url, w.http = server.URL, &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableCompression: true}}
	w.Cleanup(w.http.CloseIdleConnections)
}

// caller is somebody who talks to the API.
func (w *world) caller(subject string, scopes ...string) *prefstest.Caller {
	w.Helper()
	token, err := w.key.Sign(auth.Grant{Subject: subject, Scopes: scopes})
	require.NoError(w, err)
	return &prefstest.Caller{Base: w.url, Token: token, HTTP: w.http}
}

// work carries out what waits for a process that has time.
func (w *world) work(ctx context.Context) error {
	for {
		held, found, err := w.store.Claim(ctx, "runner", time.Minute, preferences.OperationKinds()...)
		if err != nil || !found {
			return err
		}
		if err := w.prefs.Run(ctx, held, func() {}); err != nil {
			return err
		}
	}
}

// row is an event of the outbox.
type row struct {
	typ, key string
	payload  []byte
}

// announced returns what was announced since it was called last.
func (w *world) announced(ctx context.Context) (out []row, err error) {
	rows, err := w.db.QueryContext(ctx, "select id, type, aggregateid, payload from outbox where id > $1 order by id", w.outbox)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		if err := rows.Scan(&w.outbox, &r.typ, &r.key, &r.payload); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// sound checks every promise that the database can show, about all runs together.
func (w *world) sound() {
	w.Helper()
	ctx := context.WithoutCancel(w.Context())
	require.NoError(w, w.store.Snapshot(ctx, func(src verify.Source) error {
		report, err := verify.Database(ctx, src)
		told, failed := verify.Contract(ctx, src)
		for _, f := range append(report.Findings, told.Findings...) {
			w.Error(f)
		}
		require.NotZero(w, report.Lists, "the database holds no list")
		require.NotZero(w, report.Changes, "the database holds no history")
		require.NotZero(w, report.Events, "the database holds no event")
		return errors.Join(err, failed)
	}))
}

// enough fails if something that a property is about has never happened: then it has shown nothing.
func (w *world) enough(needs ...string) {
	w.Helper()
	checks, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	require.NoError(w, err)
	require.GreaterOrEqual(w, w.runs, checks, "the time was up before all runs")
	for _, what := range needs {
		require.NotZero(w, w.seen[what], "no %s in %d runs", what, w.runs)
	}
	var all []string
	for _, what := range slices.Sorted(maps.Keys(w.seen)) {
		all = append(all, fmt.Sprintf("%s %d", what, w.seen[what]))
	}
	w.Logf("%d runs: %s", w.runs, strings.Join(all, ", "))
}
