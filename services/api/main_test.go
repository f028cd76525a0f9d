package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/status"
	"github.com/prefsd/prefsd/pkg/verify"
	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/api/middleware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(seen{m}) }

// seen adds to a whole run the question whether all that openapi.yaml documents
// has happened.
type seen struct{ m *testing.M }

func (s seen) Run() int {
	code := pgtest.Run(s.m)
	if missing := contract().unseen(); code == 0 && wholeRun() && len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "documented, but no test has seen it: %s\n", strings.Join(missing, ", "))
		return 1
	}
	return code
}

// key signs the tokens of all tests.
var key = sync.OnceValue(func() *auth.DevKey {
	k, err := auth.NewDevKey()
	if err != nil {
		panic(err)
	}
	return k
})

func verifier(t *testing.T) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: key()}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return v
}

func token(t *testing.T, subject string, scopes ...string) string {
	t.Helper()
	signed, err := key().Sign(auth.Grant{Subject: subject, Scopes: scopes})
	require.NoError(t, err)
	return signed
}

var announcer = preferences.Announcer{EventsTopic: "preferences.events", CleanedTopic: "preferences.cleaned", Source: events.Source("test")}

// generous are limits that no test meets unless it means to, so that all answers
// have the headers of limits.
var generous = api.Limits{
	User: middleware.Quota{Requests: 1_000_000, Window: time.Minute}, System: middleware.Quota{Requests: 1_000_000, Window: time.Minute},
	AtWork: 12, Waiting: 1000, Patience: patience,
}

// world is an API on a database of its own.
type world struct {
	*testing.T

	url   string
	db    *sql.DB
	store *postgres.Store
	prefs *preferences.Service
	logs  *logs
	open  string // the id of an operation, for the samples of routes
}

// logs collects what the API logs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// begin starts a world. Tests of it run in parallel with all others.
func begin(t *testing.T, change ...func(*preferences.Options)) *world {
	t.Helper()
	t.Parallel()
	return beginAt(t, pgtest.New(t), change...)
}

func beginAt(t *testing.T, url string, change ...func(*preferences.Options)) *world {
	t.Helper()
	store, err := postgres.Open(postgres.Config{URL: url, MaxConns: 12, Cache: 1 << 20, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	o := preferences.Options{Store: store, Announcer: announcer, Directories: map[string]preferences.Directory{"account": &owner{}}}
	for _, c := range change {
		c(&o)
	}
	w := &world{T: t, db: db, store: store, prefs: preferences.New(o), logs: &logs{}}
	w.url = serve(t, api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(t), Log: slog.New(slog.NewJSONHandler(w.logs, nil)),
		Timeout: 10 * time.Second, Limiter: api.NewLimiter(generous), About: api.About{Version: "test", Domains: preferences.DefaultDomains()},
		Status: func(ctx context.Context) (status.Status, error) { return store.Status(ctx, "main") },
	}))
	t.Cleanup(w.sound)
	return w
}

// serve starts a server with the limits of the product.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config = api.NewHTTPServer(h, slog.New(slog.DiscardHandler))
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// sound checks every promise that the database can show.
func (w *world) sound() {
	w.Helper()
	ctx := context.WithoutCancel(w.Context())
	require.NoError(w, w.store.Snapshot(ctx, func(src verify.Source) error {
		report, err := verify.Database(ctx, src)
		told, failed := verify.Contract(ctx, src)
		for _, f := range append(report.Findings, told.Findings...) {
			w.Error(f)
		}
		return errors.Join(err, failed)
	}))
}

// rows is everything that a request could have changed.
func (w *world) rows() string {
	w.Helper()
	var all strings.Builder
	for _, table := range []string{"preference_lists", "preferences", "changes", "deleted_entities", "outbox", "operations", "operation_steps", "inbox", "idempotency_keys"} {
		var text sql.NullString
		query := "select string_agg(x::text, E'\\n' order by x::text) from " + table + " x"
		require.NoError(w, w.db.QueryRowContext(w.Context(), query).Scan(&text))
		fmt.Fprintf(&all, "%s\n%s\n", table, text.String)
	}
	return all.String()
}

// unchanged proves that what fn does leaves every row as it is, and adds none
// to the outbox.
func (w *world) unchanged(fn func()) {
	w.Helper()
	before := w.rows()
	fn()
	require.Equal(w, before, w.rows(), "rows have changed")
}

// count answers a query of one number.
func (w *world) count(query string, args ...any) (n int) {
	w.Helper()
	require.NoError(w, w.db.QueryRowContext(w.Context(), query, args...).Scan(&n))
	return n
}

// caller is somebody who talks to the API.
type caller struct {
	*world

	token string
}

// in is the same world in a subtest.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	other := *w
	other.T = t
	return &other
}

// in is the same caller in a subtest.
func (c caller) in(t *testing.T) caller {
	t.Helper()
	return caller{c.world.in(t), c.token}
}

func (w *world) as(subject string, scopes ...string) caller {
	w.Helper()
	return caller{w, token(w.T, subject, scopes...)}
}

func (w *world) system() caller { return w.as("svc", auth.ScopeSystem) }
func (w *world) admin() caller  { return w.as("root", auth.ScopeAdmin) }

// answered is a response whose body was read.
type answered struct {
	*http.Response

	t    *testing.T
	text string
}

// send sends a request with headers in pairs of name and value; "-" removes
// one that is sent by default. Every answer is held against openapi.yaml.
func (c caller) send(method, target, body string, h ...string) answered {
	c.Helper()
	return c.sendReader(method, target, strings.NewReader(body), h...)
}

func (c caller) sendReader(method, target string, body io.Reader, h ...string) answered {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, c.url+target, body)
	require.NoError(c, err)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil && (method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch) {
		req.Header.Set("Content-Type", "application/json")
	}
	for pair := range pairs(h) {
		req.Header.Del(pair[0])
	}
	for pair := range pairs(h) {
		if pair[1] != "-" {
			req.Header.Add(pair[0], pair[1])
		}
	}
	return c.do(req)
}

func pairs(h []string) func(func([2]string) bool) {
	return func(yield func([2]string) bool) {
		for i := 0; i+1 < len(h); i += 2 {
			if !yield([2]string{h[i], h[i+1]}) {
				return
			}
		}
	}
}

// client neither follows redirects nor asks for gzip.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (c caller) do(req *http.Request) answered {
	c.Helper()
	res, err := client(c.T).Do(req)
	require.NoError(c, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(c, err)
	if res.Header.Get("Content-Encoding") == "gzip" && len(text) > 0 {
		packed, err := gzip.NewReader(bytes.NewReader(text))
		require.NoError(c, err)
		text, err = io.ReadAll(packed)
		require.NoError(c, err)
	}
	a := answered{res, c.T, string(text)}
	if err := contract().check(req, res, text); err != nil {
		c.Errorf("%s %s, answered %d %.500s: %v", req.Method, req.URL.RequestURI(), res.StatusCode, text, err)
	}
	return a
}

// into decodes the body.
func (a answered) into(dst any) {
	a.t.Helper()
	require.NoError(a.t, json.Unmarshal([]byte(a.text), dst), a.text)
}
