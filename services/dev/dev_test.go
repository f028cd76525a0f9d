package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/services/ctl"
)

// screen is what a person sees. It says when the environment is up.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	up   chan struct{}
	once sync.Once
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(p, []byte("prefsd is up")) {
		s.once.Do(func() { close(s.up) })
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// running is a started environment.
type running struct {
	ctl.Environment
	t      *testing.T
	dir    string
	screen *screen
	stop   func()
	client *http.Client
}

// anyPort moves every part to a free port.
var anyPort = []string{
	"--api-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--consumer-admin-addr=127.0.0.1:0", "--accounts-addr=127.0.0.1:0", "--web-addr=127.0.0.1:0", "--kafka-addr=127.0.0.1:0",
}

func nothingSet(string) (string, bool) { return "", false }

func configOf(t *testing.T, dir string, args ...string) Config {
	t.Helper()
	cfg, err := config.Parse[Config]("dev", "", append(append([]string{"--dir=" + dir}, anyPort...), args...), nothingSet)
	require.NoError(t, err)
	cfg.Version, cfg.Lookup = "test", nothingSet
	return cfg
}

// newDir returns a directory that the user whom root's PostgreSQL runs as can
// pass through.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	return dir
}

// start runs an environment until stop is called.
func start(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := configOf(t, dir, args...)
	r := &running{t: t, dir: dir, screen: &screen{up: make(chan struct{})}, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, r.screen, log) }()
	select {
	case <-r.screen.up:
	case err := <-ended:
		cancel()
		require.NoError(t, err)
		t.Fatalf("it ended before it was up:\n%s", r.screen)
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoFileExists(t, filepath.Join(dir, ctl.EnvironmentFile))
	})
	t.Cleanup(r.stop)
	var err error
	r.Environment, err = ctl.ReadEnvironment(dir)
	require.NoError(t, err)
	return r
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (r *running) do(method, url, token, body string, header ...string) answer {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	require.NoError(r.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.client.Do(request)
	require.NoError(r.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

// entities are the accounts of alice's list, in order.
func (r *running) entities() []string {
	r.t.Helper()
	a := r.do(http.MethodGet, r.APIURL+"/preferences?domain=accounts", r.Tokens.Alice, "")
	require.Equal(r.t, http.StatusOK, a.status, a.body)
	return entitiesOf(r.t, a.body)
}

func entitiesOf(t *testing.T, body string) []string {
	t.Helper()
	var list struct {
		Preferences []struct {
			EntityID string `json:"entityId"`
			Order    int    `json:"order"`
		} `json:"preferences"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	ids := []string{}
	for i, p := range list.Preferences {
		require.Equal(t, i+1, p.Order, "no gap")
		ids = append(ids, p.EntityID)
	}
	return ids
}

// tail waits for the next records of a topic, from its beginning.
func (r *running) tail(topic, count string) []string {
	r.t.Helper()
	var out, errs bytes.Buffer
	code := ctl.Run(r.t.Context(), ctl.Process{
		Args: []string{"topics", "tail", topic, "--dir", r.dir, "--count", count, "--json"}, Lookup: nothingSet, Out: &out, Err: &errs,
	})
	require.Equal(r.t, ctl.Done, code, errs.String())
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

const save = `{"domain":"accounts","preferences":[{"entityId":"acc-001"},{"entityId":"acc-003"},{"entityId":"acc-004"},{"entityId":"acc-002"}]}`

func TestTheTourAndASecondStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "environment")
	r := start(t, dir)

	saved := r.do(http.MethodPut, r.APIURL+"/preferences:batchReplace", r.Tokens.Alice, save)
	require.Equal(t, http.StatusOK, saved.status, saved.body)
	listed := r.do(http.MethodGet, r.APIURL+"/preferences?domain=accounts", r.Tokens.Alice, "")
	require.Equal(t, http.StatusOK, listed.status)
	require.Equal(t, []string{"acc-001", "acc-003", "acc-004", "acc-002"}, entitiesOf(t, listed.body))
	again := r.do(http.MethodGet, r.APIURL+"/preferences?domain=accounts", r.Tokens.Alice, "", "If-None-Match", listed.header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.status)
	for origin, allowed := range map[string]string{r.WebURL: r.WebURL, "http://localhost:3000": "http://localhost:3000", "http://evil.example.com": ""} {
		seen := r.do(http.MethodGet, r.APIURL+"/info", "", "", "Origin", origin)
		require.Equal(t, allowed, seen.header.Get("Access-Control-Allow-Origin"), "a UI under development may call")
	}

	deleted := r.do(http.MethodDelete, r.AccountsURL+"/accounts/acc-003", "", "")
	require.Equal(t, http.StatusNoContent, deleted.status, deleted.body)
	cleaned := r.tail("preferences.cleaned", "1")
	require.Contains(t, cleaned[0], `"key":"acc-003"`)
	require.Contains(t, cleaned[0], `"affectedUsers":["alice"]`)
	require.Equal(t, []string{"acc-001", "acc-004", "acc-002"}, r.entities())
	first := r.Environment
	r.stop()

	r = start(t, dir)
	require.Equal(t, []string{"acc-001", "acc-004", "acc-002"}, r.entities())
	require.Contains(t, r.do(http.MethodGet, r.AccountsURL+"/accounts?ids=acc-003", "", "").body, `"notFound":["acc-003"]`)
	r.Tokens = first.Tokens // the key is the same, so an old token still opens the list
	require.Len(t, r.entities(), 3)
	require.Contains(t, r.tail("preferences.cleaned", "1")[0], "acc-003", "the topics are kept")
	// A save that was under way brings no deleted account back.
	saved = r.do(http.MethodPut, r.APIURL+"/preferences:batchReplace", r.Tokens.Alice, save)
	require.Contains(t, saved.body, `"ENTITY_DELETED"`)
}

func TestTheLinesOfTheTourRun(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") == "" { //nolint:forbidigo // in CI what is missing is a failure
		t.Skip("there is no curl")
	}
	r := start(t, newDir(t), "--ephemeral")
	var lines []string
	for line := range strings.Lines(r.screen.String()) {
		if strings.HasPrefix(line, "curl ") {
			lines = append(lines, line)
		}
	}
	require.Len(t, lines, 3)
	for i, want := range []string{`"created":4`, `"totalSize":4`, "HTTP/1.1 204"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", lines[i]).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), want, lines[i])
	}
	require.Len(t, r.tail("preferences.cleaned", "1"), 1)
	require.Equal(t, []string{"acc-001", "acc-004", "acc-002"}, r.entities())
	// Nothing but the key was kept.
	kept, err := os.ReadDir(r.dir)
	require.NoError(t, err)
	var names []string
	for _, e := range kept {
		names = append(names, e.Name())
	}
	require.ElementsMatch(t, []string{ctl.EnvironmentFile, ctl.KeyFile, "lock"}, names)
}

func TestDemoUsersHaveLists(t *testing.T) {
	t.Parallel()
	r := start(t, newDir(t), "--ephemeral", "--users=20", "--accounts=30")
	r.Tokens.Alice = r.token("user-00007")
	require.NotEmpty(t, r.entities())
	require.NotContains(t, r.screen.String(), "webUrl")
	require.Equal(t, http.StatusForbidden, r.clean(r.Tokens.Bob))
	require.Equal(t, http.StatusOK, r.clean(r.Tokens.System))
	require.Equal(t, http.StatusOK, r.clean(r.Tokens.Admin))
}

func (r *running) token(subject string) string {
	r.t.Helper()
	var out, errs bytes.Buffer
	code := ctl.Run(r.t.Context(), ctl.Process{
		Args: []string{"token", "--subject", subject, "--dir", r.dir}, Lookup: nothingSet, Out: &out, Err: &errs,
	})
	require.Equal(r.t, ctl.Done, code, errs.String())
	return strings.TrimSpace(out.String())
}

func (r *running) clean(token string) int {
	r.t.Helper()
	return r.do(http.MethodPost, r.APIURL+"/preferences:cleanOrphaned", token, `{"entityId":"acc-029","entityType":"account"}`).status
}

func TestTwoOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lockDir(dir)
	require.NoError(t, err)
	defer unlock()
	err = Run(t.Context(), configOf(t, dir), io.Discard, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "in use by another development environment")
	require.ErrorContains(t, err, "--dir")
}

func TestATakenPortNamesItsFlag(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, name := range []string{"--api-addr", "--admin-addr", "--consumer-admin-addr", "--accounts-addr", "--web-addr", "--kafka-addr"} {
		dir := t.TempDir()
		stale := ctl.Environment{APIURL: "http://127.0.0.1:1"}
		require.NoError(t, stale.Write(dir))
		err := Run(t.Context(), configOf(t, dir, "--ephemeral", name+"="+taken.Addr().String()), io.Discard, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "choose another with "+name)
		require.NoFileExists(t, filepath.Join(dir, ctl.EnvironmentFile), "nobody is sent to parts that do not run")
	}
}

func TestOnlyABrokerOfItsOwnIsStopped(t *testing.T) {
	t.Parallel()
	foreign, err := devkafka.Start(devkafka.Config{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, foreign.Close()) })
	dir := newDir(t)
	require.ErrorContains(t, Broker(t.Context(), BrokerConfig{Do: "stop", Dir: dir}, io.Discard), "nothing runs in")
	r := start(t, dir, "--ephemeral", "--kafka-brokers="+foreign.Addrs()[0])
	require.NotContains(t, r.screen.String(), "broker stop")
	require.ErrorContains(t, Broker(t.Context(), BrokerConfig{Do: "stop", Dir: dir}, io.Discard), "somebody else's")
	require.Equal(t, http.StatusBadRequest, r.do(http.MethodPut, r.ControlURL+"/broker", "", "stop").status)
	require.Equal(t, http.StatusMethodNotAllowed, r.do(http.MethodPost, r.ControlURL+"/broker", "", `{"running":false}`).status, "what a page may send without asking")
}

func TestAStopDuringTheStartIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Run(ctx, configOf(t, newDir(t), "--ephemeral"), io.Discard, slog.New(slog.DiscardHandler)))
}

func TestMistakesAreSaidBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"--users":    {"--users=-1"},
		"--accounts": {"--accounts=1000000"},
		"--api-addr": {"--api-addr=8080"},
		"--dir":      {"--dir="},
	} {
		_, err := config.Parse[Config]("dev", "", args, nothingSet)
		require.ErrorContains(t, err, name)
	}
	cfg := configOf(t, newDir(t), "--ephemeral")
	cfg.Lookup = func(name string) (string, bool) {
		if name == "PREFS_CELL" {
			return "Not A Cell", true
		}
		return "", false
	}
	require.ErrorContains(t, Run(t.Context(), cfg, io.Discard, slog.New(slog.DiscardHandler)), "PREFS_CELL")
}
