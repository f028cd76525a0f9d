package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api"
)

// TestCase111: a caller who leaves in the middle of a save has saved all of it,
// or nothing.
func TestCase111_ACallerWhoLeavesLeavesNothingHalfDone(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save("kept")
	content := body(many(1000)...)
	for _, sent := range []int{0, 1, len(content) / 2, len(content) - 1, len(content)} {
		conn := dial(t, w.url)
		_, err := fmt.Fprintf(conn, "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			alice.token, len(content), content[:sent])
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		l := alice.read()
		require.Contains(t, []int{1, 1000}, len(l.Preferences))
		if sent < len(content) {
			require.Equal(t, []string{"kept:1"}, l.shown())
		}
	}
	require.NotContains(t, w.logs.String(), `"level":"ERROR"`)
}

func TestCase122_LongHeadersAndURLsAreRefused(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("a").Preferences[0].ID
	long := func(n int) string { return strings.Repeat("a", n) }
	w.unchanged(func() {
		for _, x := range everywhere(id) {
			join := "?"
			if strings.Contains(x[1], "?") {
				join = "&"
			}
			alice.send(x[0], x[1]+join+long(8<<10), x[2]).fails(http.StatusRequestURITooLong, "URL_TOO_LONG")
			alice.send(x[0], x[1], x[2], "X-Long", long(33<<10)).fails(http.StatusRequestHeaderFieldsTooLarge, "HEADERS_TOO_LARGE")
			if x[0] == http.MethodGet || x[0] == http.MethodHead {
				alice.send(x[0], x[1], long(maxBody+1)).fails(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, address := range documents {
				alice.send(method, address+"?"+long(9<<10), "").fails(http.StatusRequestURITooLong, "URL_TOO_LONG")
				alice.send(method, address, "", "X-Long", long(33<<10)).fails(http.StatusRequestHeaderFieldsTooLarge, "HEADERS_TOO_LARGE")
				alice.send(method, address, strings.Repeat(" ", maxBody+1)).fails(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
			}
		}
	})
	// Beyond that net/http does not read on.
	answer := raw(t, w.url, "GET /preferences?domain=accounts HTTP/1.1\r\nHost: x\r\nX-Long: "+long(1_100_000))
	require.True(t, answer == "" || strings.HasPrefix(answer, "HTTP/1.1 431 "), answer)
	alice.send(http.MethodGet, accounts+"&pageToken="+long(8<<10-100), "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN")
	alice.send(http.MethodGet, accounts, "", "X-Long", long(20<<10)).is(http.StatusOK)
}

// TestCase123: whoever sends slowly is cut off, and holds up nobody.
func TestCase123_SlowCallersAreCutOff(t *testing.T) {
	w := begin(t)
	h := api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(t), Log: slog.New(slog.DiscardHandler), Timeout: time.Second,
	})
	s := httptest.NewUnstartedServer(h)
	s.Config = api.NewHTTPServer(h, slog.New(slog.DiscardHandler))
	s.Config.ReadHeaderTimeout, s.Config.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	head := "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token(t, "alice") + "\r\nContent-Type: application/json\r\n"
	conns := map[string]string{
		"no byte": "", "half a line": "GET /pref", "no end of headers": head, "no body": head + "Content-Length: 100\r\n\r\n",
		"half a body": head + "Content-Length: 100\r\n\r\n{", "half a chunk": head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a",
	}
	w.unchanged(func() {
		for name, sent := range conns {
			t.Run(name, func(t *testing.T) {
				conn := dial(t, s.URL)
				_, err := io.WriteString(conn, sent)
				require.NoError(t, err)
				answer := rest(t, conn)
				if strings.Contains(name, "body") || strings.Contains(name, "chunk") {
					require.Contains(t, answer, "HTTP/1.1 400 ")
					require.Contains(t, answer, "The body did not arrive in full.")
					require.Contains(t, answer, "Connection: close")
				}
			})
		}
		other := *w
		other.url = s.URL
		other.as("bob").send(http.MethodGet, accounts, "").is(http.StatusOK)
	})
}

func TestCase124_WhatIsNotHTTPIsRefused(t *testing.T) {
	w := begin(t)
	auth := "Authorization: Bearer " + token(t, "alice") + "\r\n"
	w.unchanged(func() {
		for name, text := range map[string]string{
			"space before colon": "GET " + accounts + " HTTP/1.1\r\nHost: x\r\nX-A : b\r\n" + auth + "\r\n",
			"two hosts":          "GET " + accounts + " HTTP/1.1\r\nHost: x\r\nHost: y\r\n" + auth + "\r\n",
			"no host":            "GET " + accounts + " HTTP/1.1\r\n" + auth + "\r\n",
			"two lengths":        "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + auth + "\r\n{}x",
			"length and chunks":  "PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n" + auth + "\r\n{}",
			"NUL in a header":    "GET " + accounts + " HTTP/1.1\r\nHost: x\r\nX-A: b\x00\r\n" + auth + "\r\n",
		} {
			require.Regexp(t, `^HTTP/1\.1 400 `, raw(t, w.url, text), name)
		}
	})
}

// TestCase126: a mistake of ours is told without its inside.
func TestCase126_APanicIsAnAnswerWithoutAStack(t *testing.T) {
	// A service without a store panics at its first use.
	w := begin(t, func(o *preferences.Options) { o.Store = nil })
	res := w.as("alice").send(http.MethodGet, accounts, "", "X-Request-Id", "r-panic")
	p := res.fails(http.StatusInternalServerError, "INTERNAL")
	require.Equal(t, "r-panic", p.Error.Details.RequestID)
	require.NotContains(t, res.text, "nil pointer")
	require.NotContains(t, res.text, ".go:")
	require.Contains(t, w.logs.String(), `"msg":"request failed"`)
	require.Contains(t, w.logs.String(), "nil pointer")
	require.Contains(t, w.logs.String(), "r-panic")
	w.as("alice").send(http.MethodGet, accounts, "").fails(http.StatusInternalServerError, "INTERNAL")
}

// TestCase127: nothing of the database, of others, or of the caller's secrets
// gets out, into an answer or into the log.
func TestCase127_NothingInsideGetsOut(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	theirs := bob.replace(items0(`{"entityId":"bobs-secret-account","attributes":{"note":"bobs-secret-note"}}`)).list(http.StatusOK)
	id := alice.replace(items0(`{"entityId":"a","attributes":{"note":"alices-secret-note"}}`)).list(http.StatusOK).Preferences[0].ID
	var all strings.Builder
	for _, x := range append(everywhere(id), everywhere(theirs.Preferences[0].ID)...) {
		for _, content := range []string{x[2], `{`, `{"attributes":{"note":"x\u0000"}}`, `{"domain":"accounts","preferences":[{"entityId":"a","order":2147483648}]}`, `{"order":99999999999999999999}`} {
			for _, h := range [][]string{nil, {"If-Match", `"stale"`}, {"Authorization", "Bearer nonsense"}} {
				if x[0] == http.MethodDelete && h == nil {
					continue
				}
				res := alice.send(x[0], x[1], content, h...)
				require.NotEqual(t, http.StatusInternalServerError, res.StatusCode)
				all.WriteString(res.text)
			}
		}
	}
	for _, secret := range []string{"SQLSTATE", "pgx", "ERROR:", "relation", "bobs-secret-account", "bobs-secret-note", "bob\"", ".go:"} {
		require.NotContains(t, all.String(), secret)
	}
	for _, secret := range []string{alice.token, bob.token, "secret-note", "secret-account", "nonsense", "alice", "bob"} {
		require.NotContains(t, w.logs.String(), secret)
	}
	require.Contains(t, w.logs.String(), `"msg":"request","method":"PATCH","route":"/preferences/:id","status":200`)
	require.Contains(t, w.logs.String(), `"route":"/preferences:batchReplace"`)
	for line := range strings.Lines(w.logs.String()) {
		require.True(t, json.Valid([]byte(line)))
	}
}

func TestARequestIDIsTakenOrMadeUp(t *testing.T) {
	alice := begin(t).as("alice")
	for sent, taken := range map[string]bool{
		"abc": true, "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69": true, "a/b:c+d=e_f.g": true, strings.Repeat("x", 128): true,
		"": false, "with space": false, strings.Repeat("x", 129): false, "ünicode": false, `"quoted"`: false, "<b>": false,
	} {
		got := alice.send(http.MethodGet, accounts, "", "X-Request-Id", sent).Header.Get("X-Request-Id")
		require.Equal(t, taken, got == sent, "%q gave %q", sent, got)
		require.NotEmpty(t, got)
	}
	two := alice.send(http.MethodGet, accounts, "", "X-Request-Id", "a", "X-Request-Id", "b")
	require.Len(t, two.Header["X-Request-Id"], 1)
	require.Len(t, two.Header.Get("X-Request-Id"), 26)
}

// TestWorkThatRunsOutOfTimeSaysSo: while the only connection to the database
// waits for a lock, nobody else waits for it longer than a request may last.
func TestWorkThatRunsOutOfTimeSaysSo(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	w := beginAt(t, database)
	w.as("alice").save("a", "b")
	w.as("bob").save("c")
	one, err := postgres.Open(postgres.Config{URL: database, MaxConns: 1, Announcer: announcer})
	require.NoError(t, err)
	require.NoError(t, one.Ping(t.Context()), "opening it counts as the time of a request as well")
	t.Cleanup(func() { require.NoError(t, one.Close()) })
	w.url = serve(t, api.New(api.Options{
		Preferences: preferences.New(preferences.Options{Store: one, Announcer: announcer}), Verifier: verifier(t),
		Log: slog.New(slog.NewJSONHandler(w.logs, nil)), Timeout: 500 * time.Millisecond,
	}))
	held, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = held.ExecContext(t.Context(), "select from preference_lists where user_id = 'alice' for update")
	require.NoError(t, err)
	saved := make(chan answered, 1)
	go func() { saved <- w.as("alice").replace(body("b", "a")) }()
	require.Eventually(t, func() bool {
		return w.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == 1
	}, patience, 5*time.Millisecond)

	w.unchanged(func() {
		for _, res := range []answered{w.as("bob").send(http.MethodGet, accounts, ""), w.as("bob").replace(body("d"))} {
			p := res.fails(http.StatusGatewayTimeout, "DEADLINE_EXCEEDED")
			require.Equal(t, "No connection to the database came free in time. Try again soon.", p.Error.Message)
		}
	})
	require.NoError(t, held.Rollback())
	require.Equal(t, []string{"b:1", "a:2"}, (<-saved).list(http.StatusOK).shown())
	require.Equal(t, []string{"c:1"}, w.as("bob").read().shown())
}

// TestEveryFaultHasItsStatus: no class of faults is forgotten, and each reason
// of the contract comes out under its name.
func TestEveryFaultHasItsStatus(t *testing.T) {
	t.Parallel()
	want := map[fault.Code]int{
		fault.Internal: 500, fault.Invalid: 400, fault.Unprocessable: 422, fault.Unauthenticated: 401, fault.Denied: 403, fault.NotFound: 404,
		fault.Exists: 409, fault.Conflict: 409, fault.Aborted: 409, fault.Precondition: 412, fault.PreconditionRequired: 428, fault.Expired: 410, fault.Unavailable: 503, fault.Deadline: 504,
	}
	for _, code := range fault.Codes() {
		var log bytes.Buffer
		rec := api.Failing(t.Context(), fault.New(code, "SOME_REASON", "A message.").Because(errors.New("inside")), slog.New(slog.NewJSONHandler(&log, nil)))
		require.Equal(t, want[code], rec.Code, code)
		require.NotContains(t, rec.Body.String(), "inside")
		require.Equal(t, rec.Code >= 500, log.Len() > 0, "only our own failures are logged")
		require.Equal(t, rec.Code == 503, rec.Header().Get("Retry-After") != "")
		require.Equal(t, rec.Code == 401, rec.Header().Get("WWW-Authenticate") != "")
	}
	discard := slog.New(slog.DiscardHandler)
	require.Equal(t, http.StatusGatewayTimeout, api.Failing(t.Context(), fmt.Errorf("list: %w", context.DeadlineExceeded), discard).Code)
	require.Equal(t, http.StatusInternalServerError, api.Failing(t.Context(), context.Canceled, discard).Code, "nobody left")
	left, leave := context.WithCancel(t.Context())
	leave()
	require.Equal(t, 499, api.Failing(left, fmt.Errorf("list: %w", context.Canceled), discard).Code)
}
