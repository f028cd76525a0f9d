package api_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

const page = "https://app.example.com"

// browsed is the same world for browsers.
func (w *world) browsed(b api.Browsers) *world {
	w.Helper()
	other := *w
	other.url = serve(w.T, api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(w.T), Log: slog.New(slog.NewJSONHandler(w.logs, nil)),
		Timeout: 10 * time.Second, Limiter: api.NewLimiter(generous), Browsers: b,
	}))
	return &other
}

// names splits a header that is a list.
func names(value string) []string {
	out := strings.Split(value, ",")
	for i := range out {
		out[i] = strings.ToLower(strings.TrimSpace(out[i]))
	}
	return out
}

// TestCase047: a page of an origin that may call reads the tag, and what else a
// client needs.
func TestCase047_APageReadsTheTag(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("a").Preferences[0].ID
	alice := w.browsed(api.Browsers{Origins: []string{"http://localhost:3000", page}}).as("alice")
	for _, x := range []struct {
		c               caller
		method, address string
		body            string
		status          int
	}{
		{alice, http.MethodGet, accounts, "", http.StatusOK},
		{alice, http.MethodPatch, "/preferences/" + id, `{}`, http.StatusOK},
		{alice, http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"b"}`, http.StatusCreated},
		{alice, http.MethodGet, "/nope", "", http.StatusNotFound},
		{alice, http.MethodPatch, accounts, "", http.StatusMethodNotAllowed},
		{alice, http.MethodGet, "/preferences?" + strings.Repeat("a", 9000), "", http.StatusRequestURITooLong},
		{alice, http.MethodPost, "/preferences", strings.Repeat(" ", maxBody+1), http.StatusRequestEntityTooLarge},
		{caller{world: alice.world}, http.MethodGet, accounts, "", http.StatusUnauthorized},
	} {
		res := x.c.send(x.method, x.address, x.body, "Origin", page).is(x.status)
		require.Equal(t, []string{page}, res.Header.Values("Access-Control-Allow-Origin"), "%s %s", x.method, x.address)
		require.Empty(t, res.Header.Values("Access-Control-Allow-Credentials"))
		exposed := names(res.Header.Get("Access-Control-Expose-Headers"))
		for _, name := range []string{"etag", "location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id"} {
			require.Contains(t, exposed, name)
		}
		require.Contains(t, names(strings.Join(res.Header.Values("Vary"), ",")), "origin")
	}
	for _, other := range []string{"https://evil.example.com", "https://app.example.com.evil.org", "http://app.example.com", "null", page + ":8443"} {
		res := alice.send(http.MethodGet, accounts, "", "Origin", other).is(http.StatusOK)
		require.Empty(t, res.Header.Values("Access-Control-Allow-Origin"), other)
		require.Contains(t, names(res.Header.Get("Vary")), "origin")
	}
	require.Empty(t, w.as("alice").send(http.MethodGet, accounts, "", "Origin", page).Header.Values("Access-Control-Allow-Origin"), "nobody is let in unless the operator says so")
	open := w.browsed(api.Browsers{Origins: []string{"*"}}).as("alice")
	require.Equal(t, "*", open.send(http.MethodGet, accounts, "", "Origin", page).Header.Get("Access-Control-Allow-Origin"))
}

// TestAPreflightAllowsWhatTheAddressTakes: at every route, with every header that
// a client may send.
func TestAPreflightAllowsWhatTheAddressTakes(t *testing.T) {
	w := begin(t).browsed(api.Browsers{Origins: []string{page}})
	nobody := caller{world: w}
	taken := map[string][]string{}
	for _, r := range api.Routes() {
		a := address(r, "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69")
		taken[a] = append(taken[a], strings.ToLower(r.Method))
	}
	for a, methods := range taken {
		for _, method := range methods {
			res := nobody.send(http.MethodOptions, a, "", "Origin", page, "Access-Control-Request-Method", strings.ToUpper(method),
				"Access-Control-Request-Headers", "authorization,content-type,if-match")
			res.is(http.StatusNoContent)
			require.Equal(t, page, res.Header.Get("Access-Control-Allow-Origin"))
			require.ElementsMatch(t, append(slices.Clone(methods), "options"), names(res.Header.Get("Access-Control-Allow-Methods")), a)
			require.Subset(t, names(res.Header.Get("Access-Control-Allow-Headers")), []string{
				"authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "prefer", "x-request-id", "traceparent",
			})
			require.Equal(t, "7200", res.Header.Get("Access-Control-Max-Age"))
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		}
		res := nobody.send(http.MethodOptions, a, "", "Origin", "https://evil.example.com", "Access-Control-Request-Method", "GET").is(http.StatusNoContent)
		require.Empty(t, res.Header.Values("Access-Control-Allow-Origin"))
	}
	nobody.send(http.MethodOptions, "/nope", "").fails(http.StatusNotFound, "NOT_FOUND")
}

// TestCase009: OPTIONS is answered everywhere, also about the server as a whole.
func TestCase009_OptionsNeedNoToken(t *testing.T) {
	w := begin(t)
	for _, url := range []string{w.url, w.browsed(api.Browsers{Origins: []string{page}}).url} {
		text := raw(t, url, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Contains(t, text, "HTTP/1.1 204 ")
		require.Contains(t, text, "\r\nAllow: OPTIONS, DELETE, GET, HEAD, PATCH, POST, PUT\r\n")
		require.Contains(t, text, "\r\nX-Request-Id: ")
		require.Contains(t, text, "\r\nX-Content-Type-Options: nosniff\r\n")
		require.Contains(t, raw(t, url, "GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 404 ")
		seen := *w
		seen.url = url
		for _, r := range api.Routes() {
			res := caller{world: &seen}.send(http.MethodOptions, address(r, "x"), "").is(http.StatusNoContent)
			require.Contains(t, names(res.Header.Get("Allow")), strings.ToLower(r.Method))
		}
	}
}

func TestBrowsersAreToldToUseTLSWhereThereIsTLS(t *testing.T) {
	w := begin(t)
	require.Empty(t, w.as("alice").send(http.MethodGet, accounts, "").Header.Values("Strict-Transport-Security"))
	text := raw(t, w.browsed(api.Browsers{HSTS: 24 * time.Hour}).url, "GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.Contains(t, text, "\r\nStrict-Transport-Security: max-age=86400\r\n")
}

func TestOriginsAreHeldToTheirForm(t *testing.T) {
	t.Parallel()
	for origin, good := range map[string]bool{
		"*": true, "https://app.example.com": true, "http://localhost:3000": true, "http://[::1]:3000": true,
		"": false, "app.example.com": false, "https://": false, "https://app.example.com/": false, "https://*.example.com": false,
		"https://App.example.com": false, "ftp://app.example.com": false, "https://u@app.example.com": false, "https://a?b": false, "null": false,
	} {
		err := api.Browsers{Origins: []string{"https://good.example.com", origin}}.Validate()
		require.Equal(t, good, err == nil, "%q: %v", origin, err)
	}
	require.Error(t, api.Browsers{HSTS: -time.Second}.Validate())
}

// TestErrorsComeAsProblemDetailsToWhoAsks: the same object, in the dress of RFC
// 9457.
func TestErrorsComeAsProblemDetailsToWhoAsks(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	tag := alice.save("a").ETag
	for _, x := range []struct {
		method, address, body string
		status                int
		h                     []string
	}{
		{http.MethodGet, "/nope", "", http.StatusNotFound, nil},
		{http.MethodGet, accounts, "", http.StatusUnauthorized, []string{"Authorization", "-"}},
		{http.MethodPut, "/preferences:batchReplace", `{`, http.StatusBadRequest, nil},
		{http.MethodPut, "/preferences:batchReplace", body("b"), http.StatusPreconditionFailed, []string{"If-Match", `"x"`}},
		{http.MethodPut, accounts, "", http.StatusMethodNotAllowed, nil},
	} {
		h := append([]string{"X-Request-Id", "same"}, x.h...)
		plain := alice.send(x.method, x.address, x.body, h...).is(x.status)
		res := alice.send(x.method, x.address, x.body, append(h, "Accept", "application/problem+json, text/html;q=0.5")...).is(x.status)
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
		require.Equal(t, plain.Header["Etag"], res.Header["Etag"])
		var got struct {
			Type, Title, Detail string
			Status              int
			problem
		}
		res.into(&got)
		var want problem
		plain.into(&want)
		require.Equal(t, want, got.problem)
		require.Equal(t, x.status, got.Status)
		require.Equal(t, http.StatusText(x.status), got.Title)
		require.Equal(t, want.Error.Message, got.Detail)
	}
	for accept, kind := range map[string]string{
		"":                             "application/json; charset=utf-8",
		"*/*":                          "application/json; charset=utf-8",
		"application/problem+json;q=0": "application/json; charset=utf-8",
		"application/json, application/problem+json;q=0.9":         "application/json; charset=utf-8",
		"application/problem+json;q=x":                             "application/json; charset=utf-8",
		"APPLICATION/Problem+JSON":                                 "application/problem+json",
		"application/json;q=0.5, application/problem+json;q=\t0.7": "application/json; charset=utf-8",
		"application/json, application/problem+json":               "application/problem+json",
	} {
		require.Equal(t, kind, alice.send(http.MethodGet, "/nope", "", "Accept", accept).Header.Get("Content-Type"), accept)
	}
	require.Equal(t, "application/json; charset=utf-8", alice.send(http.MethodGet, accounts, "", "Accept", "application/problem+json").is(http.StatusOK).Header.Get("Content-Type"), "what succeeds is no problem")
	require.Equal(t, tag, alice.read().ETag)
}
