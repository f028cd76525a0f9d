package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/services/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var demo = web.Config{
	APIURL: "http://127.0.0.1:8080", AccountsURL: "http://127.0.0.1:8081",
	People: []web.Person{{Name: "alice", Token: "a-token"}, {Name: "operator", Operator: true, Token: "another"}},
}

func get(t *testing.T, cfg web.Config, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://localhost:3000"+path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	web.Handler(cfg).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return text
}

var loads = regexp.MustCompile(`(?:src|href)="(/[^"]+\.(?:js|css))"`)

// loaded are the scripts and styles of a page.
func loaded(t *testing.T, page string) []string {
	t.Helper()
	res := get(t, demo, page)
	require.Equal(t, http.StatusOK, res.StatusCode, page)
	var names []string
	for _, m := range loads.FindAllStringSubmatch(string(body(t, res)), -1) {
		names = append(names, m[1])
	}
	return names
}

var pages = []string{"/", "/operator"}

// What a person waits for on a slow network: all that a page runs and is drawn with.
func TestScriptsAndStylesAreSmall(t *testing.T) {
	t.Parallel()
	const most = 30 << 10
	for _, page := range pages {
		names := loaded(t, page)
		require.NotEmpty(t, names, page)
		total := 0
		for _, name := range names {
			res := get(t, demo, name, "Accept-Encoding", "gzip")
			require.Equal(t, http.StatusOK, res.StatusCode, name)
			total += len(body(t, res))
		}
		t.Logf("%s: %d bytes of %d", page, total, most)
		require.LessOrEqual(t, total, most, page)
	}
}

func TestPagesAreAskedForAgainAndFilesAreKept(t *testing.T) {
	t.Parallel()
	for _, page := range pages {
		res := get(t, demo, page)
		require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
		require.Equal(t, "no-cache", res.Header.Get("Cache-Control"))
		require.Regexp(t, `^"[\w-]{16}"$`, res.Header.Get("ETag"))
		for _, name := range loaded(t, page) {
			require.Regexp(t, `-[A-Z0-9]{8}\.(js|css)$`, name, "the name changes with the content")
			require.Contains(t, get(t, demo, name).Header.Get("Cache-Control"), "immutable")
		}
	}
}

func TestEachCodingHasItsTag(t *testing.T) {
	t.Parallel()
	plain, packed := get(t, demo, "/"), get(t, demo, "/", "Accept-Encoding", "br, gzip")
	require.Empty(t, plain.Header.Get("Content-Encoding"))
	require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", packed.Header.Get("Vary"))
	require.NotEqual(t, plain.Header.Get("ETag"), packed.Header.Get("ETag"))
	unpacked, err := gzip.NewReader(bytes.NewReader(body(t, packed)))
	require.NoError(t, err)
	text, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	require.Equal(t, body(t, plain), text)

	require.Equal(t, http.StatusNotModified, get(t, demo, "/", "If-None-Match", plain.Header.Get("ETag")).StatusCode)
	require.Equal(t, http.StatusNotModified, get(t, demo, "/", "Accept-Encoding", "gzip", "If-None-Match", packed.Header.Get("ETag")).StatusCode)
	require.Equal(t, http.StatusOK, get(t, demo, "/", "If-None-Match", `"another"`).StatusCode)
	require.Equal(t, http.StatusOK, get(t, demo, "/", "Accept-Encoding", "gzip;q=0").StatusCode)
	require.Empty(t, get(t, demo, "/", "Accept-Encoding", "gzip;q=0").Header.Get("Content-Encoding"))
}

func TestNoPageRunsWhatIsNotServedHere(t *testing.T) {
	t.Parallel()
	for _, path := range append([]string{"/deployment.json", "/nothing"}, pages...) {
		res := get(t, demo, path)
		policy := res.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'; script-src 'self'; style-src 'self';")
		require.Contains(t, policy, "connect-src 'self' http://127.0.0.1:8080 http://127.0.0.1:8081;")
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"))
		require.Equal(t, "same-origin", res.Header.Get("Cross-Origin-Resource-Policy"))
	}
	for _, page := range pages {
		text := string(body(t, get(t, demo, page)))
		require.NotRegexp(t, `<script(>| [^>]*>[^<])`, text, "scripts are files")
		require.NotRegexp(t, ` (style|on[a-z]+)=`, text)
	}
}

func TestTokensAreForPagesFromHere(t *testing.T) {
	t.Parallel()
	ask := func(cfg web.Config, host string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/deployment.json", http.NoBody)
		r.Header.Set("Origin", "http://evil.example.com")
		w := httptest.NewRecorder()
		web.Handler(cfg).ServeHTTP(w, r)
		return w.Result()
	}
	for _, host := range []string{"localhost:3000", "127.0.0.1:3000", "[::1]:3000", "localhost"} {
		res := ask(demo, host)
		require.Equal(t, http.StatusOK, res.StatusCode, host)
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		var got struct {
			APIURL, AccountsURL string
			People              []web.Person
		}
		require.NoError(t, json.Unmarshal(body(t, res), &got))
		require.Equal(t, demo.People, got.People)
		require.Equal(t, demo.APIURL, got.APIURL)
	}
	for _, host := range []string{"evil.example.com:3000", "localhost.example.com", "192.0.2.1:3000"} {
		res := ask(demo, host)
		require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode, host)
		require.NotContains(t, string(body(t, res)), "token\":")
	}
	// Without tokens there is nothing to protect, and any name may lead here.
	res := ask(web.Config{APIURL: demo.APIURL}, "prefs.example.com")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.JSONEq(t, `{"apiUrl":"http://127.0.0.1:8080","accountsUrl":"","people":[]}`, string(body(t, res)))
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/nothing", "/list-00000000.js", "/operator/more", "/app/list.ts"} {
		require.Equal(t, http.StatusNotFound, get(t, demo, path).StatusCode, path)
	}
	r := httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader("x"))
	w := httptest.NewRecorder()
	web.Handler(demo).ServeHTTP(w, r)
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestRunEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := demo
	cfg.Listener = listener
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- web.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/readyz", http.NoBody)
	require.NoError(t, err)
	res, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	stop()
	require.NoError(t, <-ended)
}
