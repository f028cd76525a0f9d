package api_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/api"
)

// running is a whole API process, as its command would start it.
type running struct {
	*world

	admin string
	stop  context.CancelFunc
	ended chan error
}

// patience is how long tests wait for what takes milliseconds on a quiet
// machine.
const patience = 30 * time.Second

// launch runs the API on a database, with Kafka away.
func launch(t *testing.T, url string, change ...func(*api.Config)) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, key().Save(file))
	cfg, err := config.Parse[api.Config]("api", "", []string{"--kafka-brokers=127.0.0.1:1", "--auth-dev-key-file=" + file}, env(map[string]string{"PREFS_DATABASE_URL": url}))
	require.NoError(t, err)
	cfg.Listener, cfg.AdminListener = socket(t), socket(t)
	for _, c := range change {
		c(&cfg)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{
		world: &world{T: t, url: "http://" + cfg.Listener.Addr().String(), logs: &logs{}},
		admin: cfg.AdminListener.Addr().String(), stop: stop, ended: make(chan error, 1),
	}
	go func() { r.ended <- api.Run(ctx, cfg, slog.New(slog.NewJSONHandler(r.logs, nil))) }()
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(r.logs.String())
		}
	})
	return r
}

func env(values map[string]string) config.Lookup {
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

func socket(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (r *running) probe() error { return telemetry.Probe(r.Context(), r.admin) }

// becomes waits until the process is ready, or is not any more.
func (r *running) becomes(ready bool) {
	r.Helper()
	require.Eventually(r, func() bool { return (r.probe() == nil) == ready }, patience, 10*time.Millisecond, "ready: %t", ready)
}

// end stops the process and returns what Run returned.
func (r *running) end() error {
	r.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.Fatal("Run did not return")
		return nil
	}
}

// ask reads from the admin port.
func (r *running) ask(path string) (int, string) {
	r.Helper()
	res, err := client(r.T).Get("http://" + r.admin + path)
	require.NoError(r, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(r, err)
	return res.StatusCode, string(text)
}

func TestRun_ServesWithKafkaAwayUntilItIsStopped(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.New(t))
	r.becomes(true)
	alice := r.as("alice")
	l := alice.save("a", "b")
	alice.send(http.MethodGet, accounts, "", "If-None-Match", l.ETag).is(http.StatusNotModified)
	alice.replace(body("b"), "If-Match", `"stale"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	alice.replace(items0(`{"entityId":"a","order":1}`, `{"entityId":"b","order":1}`)).fails(http.StatusBadRequest, "ORDER_CONFLICT")
	r.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"b","entityType":"account"}`).is(http.StatusOK)
	require.Equal(t, 1, len(alice.replace(body("a", "b")).list(http.StatusOK).Skipped))
	alice.send("BREW", accounts, "").is(http.StatusMethodNotAllowed)

	status, text := r.ask("/metrics")
	require.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		`prefs_http_request_duration_seconds_count{method="PUT",route="/preferences:batchReplace",status="200"} 2`,
		`prefs_http_request_duration_seconds_count{method="GET",route="/preferences",status="304"} 1`,
		`prefs_http_request_duration_seconds_count{method="other",route="/preferences",status="405"} 1`,
		`prefs_conflicts_total{kind="precondition"} 1`,
		`prefs_conflicts_total{kind="order"} 1`,
		`prefs_tombstone_skips_total 1`,
		`prefs_database_connections{state="limit"} 16`,
		`prefs_list_cache_bytes`,
		`prefs_list_cache_total{result="stale"} 1`, // a clean took an item away
		`prefs_http_lane_requests{lane="users",state="limit"} 13`,
		`prefs_http_lane_requests{lane="conditional",state="limit"} 1`,
		`prefs_http_lane_requests{lane="system",state="working"} 0`,
		`prefs_http_body_memory_bytes{state="in_use"} 0`,
		`prefs_rate_limit_subjects{policy="user"} 1`,
		`prefs_rate_limit_subjects{policy="system"} 1`,
		`prefs_relay_is_leader`,
	} {
		require.Contains(t, text, line)
	}
	status, text = r.ask("/livez")
	require.Equal(t, http.StatusOK, status, text)
	require.NoError(t, r.end())
	_, err := net.DialTimeout("tcp", r.admin, time.Second)
	require.Error(t, err, "the admin port is closed")
	require.NotContains(t, r.logs.String(), alice.token)
}

func TestRun_IsAliveButNotReadyWhileMigrationsArePending(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	r := launch(t, url)
	require.Eventually(t, func() bool {
		status, text := r.ask("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, `"migrations"`)
	}, patience, 10*time.Millisecond)
	status, _ := r.ask("/livez")
	require.Equal(t, http.StatusOK, status)
	res := r.as("alice").send(http.MethodGet, accounts, "")
	res.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.Equal(t, "2", res.Header.Get("Retry-After"))
	caller{world: r.world}.send(http.MethodGet, "/openapi.yaml", "").is(http.StatusOK)
	caller{world: r.world}.send(http.MethodGet, "/nope", "").fails(http.StatusNotFound, "NOT_FOUND")

	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	_, err = migrations.Up(t.Context(), db)
	require.NoError(t, err)
	r.becomes(true)
	r.as("alice").save("a")
	require.NoError(t, r.end())
}

func TestRun_StopsWhileItWaits(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.NewEmpty(t))
	require.Eventually(t, func() bool { return strings.Contains(r.logs.String(), "waiting for the schema") }, patience, 10*time.Millisecond)
	require.NoError(t, r.end())
}

func TestRun_MigratesWhereItMay(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.NewEmpty(t), func(c *api.Config) { c.Database.Migrate, c.Relay.Enabled = true, false })
	r.becomes(true)
	r.as("alice").save("a")
	require.NoError(t, r.end())
}

// TestRun_FinishesWhatItHasBegun: a request that is being sent when the process
// is told to stop is answered, while nobody new is sent here.
func TestRun_FinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.New(t))
	r.becomes(true)
	alice := r.as("alice")
	alice.save("a")
	content := body("b", "c")
	conn := dial(t, r.url)
	_, err := fmt.Fprintf(conn, "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		alice.token, len(content))
	require.NoError(t, err)
	first := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	_, err = io.ReadFull(conn, first) // the handler has begun to read
	require.NoError(t, err)
	r.stop()
	r.becomes(false)
	status, text := r.ask("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status, text)
	_, err = io.WriteString(conn, content)
	require.NoError(t, err)
	answer := rest(t, conn)
	require.Contains(t, answer, "HTTP/1.1 200 OK\r\n")
	require.Contains(t, answer, "Connection: close\r\n")
	require.Contains(t, answer, `"created":2`)
	require.NoError(t, r.end())
}

// TestRun_ServesOnWhileLoadBalancersLookAway: those who have not noticed yet are
// still answered.
func TestRun_ServesOnWhileLoadBalancersLookAway(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.New(t), func(c *api.Config) { c.ShutdownDelay = 2 * time.Second })
	r.becomes(true)
	r.stop()
	r.becomes(false)
	r.as("alice").save("a")
	require.NoError(t, r.end())
}

func TestRun_CutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	r := launch(t, pgtest.New(t), func(c *api.Config) { c.ShutdownTimeout = 50 * time.Millisecond })
	r.becomes(true)
	conn := dial(t, r.url)
	_, err := fmt.Fprintf(conn, "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", token(t, "alice"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")))
	require.NoError(t, err)
	require.ErrorContains(t, r.end(), "were cut off")
	require.NotContains(t, rest(t, conn), "HTTP/1.1 200")
}

// TestCase125: PostgreSQL goes and comes back; nobody has to do anything.
func TestCase125_AnOutageOfTheDatabaseIsSurvived(t *testing.T) {
	t.Parallel()
	server := pgtest.StartPrivate(t)
	r := launch(t, server.URL())
	r.becomes(true)
	alice := r.as("alice")
	l := alice.save("a", "b")
	for name, stop := range map[string]func() error{"stopped": server.Stop, "killed": server.Kill} {
		require.NoError(t, stop())
		for _, x := range everywhere(l.Preferences[0].ID) {
			c := alice
			if forAdmins(x[1]) {
				c = r.as("root", auth.ScopeAdmin)
			}
			res := c.send(x[0], x[1], x[2])
			res.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
			require.Equal(t, "2", res.Header.Get("Retry-After"), name)
			require.NotContains(t, res.text, "connect")
		}
		alice.send(http.MethodGet, accounts, "", "If-None-Match", l.ETag).fails(http.StatusServiceUnavailable, "UNAVAILABLE")
		alice.replace(`{`).fails(http.StatusBadRequest, "INVALID_JSON")
		status, text := r.ask("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, text, `"database"`)
		status, _ = r.ask("/livez")
		require.Equal(t, http.StatusOK, status)
		status, _ = r.ask("/metrics")
		require.Equal(t, http.StatusOK, status)

		require.NoError(t, server.Start(t.Context()))
		r.becomes(true)
		require.Equal(t, []string{"a:1", "b:2"}, alice.read().shown())
		alice.replace(body("b", "a"), "If-Match", l.ETag).list(http.StatusOK)
		l = alice.save("a", "b")
	}
	require.NoError(t, r.end())
}

// TestRun_TrustsTheKeysOfAProvider: tokens are verified by a key set; while it
// cannot be had, nobody is let in, and the process is not ready.
func TestRun_TrustsTheKeysOfAProvider(t *testing.T) {
	t.Parallel()
	set, err := key().JWKS()
	require.NoError(t, err)
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	provider.Start()
	t.Cleanup(provider.Close)
	trust := func(url string) func(*api.Config) {
		return func(c *api.Config) {
			c.Auth = api.Auth{Issuer: auth.DevIssuer, Audience: auth.DevAudience, JWKSURL: url}
			c.Relay.Enabled = false
		}
	}
	database := pgtest.New(t)
	r := launch(t, database, trust(provider.URL))
	r.becomes(true)
	r.as("alice").save("a")
	r.as("alice").send(http.MethodGet, accounts, "", "Authorization", "Bearer x").refused()
	require.NoError(t, r.end())

	r = launch(t, database, trust("http://127.0.0.1:1/keys"))
	require.Eventually(t, func() bool {
		_, text := r.ask("/readyz")
		return strings.Contains(text, `"keys"`)
	}, patience, 10*time.Millisecond)
	res := r.as("alice").send(http.MethodGet, accounts, "")
	res.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.Equal(t, "2", res.Header.Get("Retry-After"))
	require.NoError(t, r.end())
}

func TestRun_NamesWhatIsWrongWithItsSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	keyFile := filepath.Join(dir, "key.pem")
	require.NoError(t, key().Save(keyFile))
	good := map[string]string{"PREFS_DATABASE_URL": "postgres://u:hidden@127.0.0.1:1/x", "PREFS_KAFKA_BROKERS": "127.0.0.1:1", "PREFS_AUTH_DEV_KEY_FILE": keyFile}
	for name, c := range map[string]struct {
		set  map[string]string
		want string
	}{
		"no database":          {map[string]string{"PREFS_DATABASE_URL": ""}, "PREFS_DATABASE_URL"},
		"no keys":              {map[string]string{"PREFS_AUTH_DEV_KEY_FILE": ""}, "PREFS_AUTH_DEV_KEY_FILE"},
		"two kinds of keys":    {map[string]string{"PREFS_AUTH_JWKS_URL": "http://x"}, "PREFS_AUTH_JWKS_URL"},
		"no issuer":            {map[string]string{"PREFS_AUTH_DEV_KEY_FILE": "", "PREFS_AUTH_JWKS_URL": "http://x"}, "PREFS_AUTH_ISSUER"},
		"no such key":          {map[string]string{"PREFS_AUTH_DEV_KEY_FILE": filepath.Join(dir, "none")}, "auth-dev-key-file"},
		"no such domains":      {map[string]string{"PREFS_DOMAINS_FILE": filepath.Join(dir, "none")}, "domains-file"},
		"bad domains":          {map[string]string{"PREFS_DOMAINS_FILE": write("d.json", `[{"name":"A"}]`)}, "domains[0].name"},
		"bad address":          {map[string]string{"PREFS_HTTP_ADDR": "nowhere"}, "http-addr"},
		"bad admin address":    {map[string]string{"PREFS_HTTP_ADDR": "127.0.0.1:0", "PREFS_ADMIN_ADDR": "nowhere"}, "admin-addr"},
		"bad database":         {map[string]string{"PREFS_HTTP_ADDR": "127.0.0.1:0", "PREFS_ADMIN_ADDR": "127.0.0.1:0", "PREFS_DATABASE_URL": "postgres://%zz:hidden@"}, "database-url"},
		"no request time":      {map[string]string{"PREFS_REQUEST_TIMEOUT": "0s"}, "PREFS_REQUEST_TIMEOUT"},
		"long request time":    {map[string]string{"PREFS_REQUEST_TIMEOUT": "10m"}, "PREFS_REQUEST_TIMEOUT"},
		"negative delay":       {map[string]string{"PREFS_SHUTDOWN_DELAY": "-1s"}, "PREFS_SHUTDOWN_DELAY"},
		"a vague rate":         {map[string]string{"PREFS_RATE_LIMIT": "many"}, "PREFS_RATE_LIMIT"},
		"an endless window":    {map[string]string{"PREFS_RATE_LIMIT_SYSTEM": "1/100h"}, "PREFS_RATE_LIMIT_SYSTEM"},
		"negative concurrency": {map[string]string{"PREFS_CONCURRENCY_LIMIT": "-1"}, "PREFS_CONCURRENCY_LIMIT"},
		"negative queue":       {map[string]string{"PREFS_QUEUE_LIMIT": "-1"}, "PREFS_QUEUE_LIMIT"},
		"negative patience":    {map[string]string{"PREFS_QUEUE_TIMEOUT": "-1s"}, "PREFS_QUEUE_TIMEOUT"},
		"no time to shut down": {map[string]string{"PREFS_SHUTDOWN_TIMEOUT": "0s"}, "PREFS_SHUTDOWN_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := map[string]string{}
			for _, m := range []map[string]string{good, c.set} {
				for k, v := range m {
					all[k] = v
				}
			}
			cfg, err := config.Parse[api.Config]("api", "", nil, env(all))
			if err == nil {
				err = api.Run(t.Context(), cfg, slog.New(slog.DiscardHandler))
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "hidden")
		})
	}
}

func TestRun_OtherDomainsAreConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "domains.json")
	require.NoError(t, os.WriteFile(file, []byte(`[{"name":"contacts","entityType":"contact"}]`), 0o600))
	r := launch(t, pgtest.New(t), func(c *api.Config) { c.Deployment.DomainsFile, c.RequireIfMatch = file, true })
	r.becomes(true)
	alice := r.as("alice")
	alice.replace(`{"domain":"contacts","preferences":[]}`).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
	l := alice.replace(`{"domain":"contacts","preferences":[{"entityId":"c-1"}]}`, "If-None-Match", "*").list(http.StatusOK)
	require.Equal(t, "contact", l.Preferences[0].EntityType)
	alice.send(http.MethodGet, accounts, "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	require.NoError(t, r.end())
}
