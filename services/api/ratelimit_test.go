package api_test

import (
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// limited is the same world behind other limits.
func (w *world) limited(l api.Limits) *world {
	w.Helper()
	other := *w
	other.url = serve(w.T, api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(w.T), Log: slog.New(slog.NewJSONHandler(w.logs, nil)),
		Timeout: 10 * time.Second, Limiter: api.NewLimiter(l),
	}))
	return &other
}

// an hour for so many requests: during a test none flows back.
func hourly(n int) middleware.Quota { return middleware.Quota{Requests: n, Window: time.Hour} }

// left is what RateLimit says.
func (a answered) left() int {
	a.t.Helper()
	m := regexp.MustCompile(`^"\w+";r=(\d+)`).FindStringSubmatch(a.Header.Get("RateLimit"))
	require.NotNil(a.t, m, "RateLimit: %s", a.Header.Get("RateLimit"))
	n, err := strconv.Atoi(m[1])
	require.NoError(a.t, err)
	return n
}

// address is one of a route.
func address(r api.Route, id string) string {
	return strings.NewReplacer(":id", id, `\:`, ":").Replace(r.Path)
}

// TestCase119: who has used up a quota is told so at every route, before anything
// else about the request is looked at.
func TestCase119_WhoSendsTooMuchIsToldWhenToComeBack(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("a").Preferences[0].ID
	l := w.limited(api.Limits{User: hourly(3), System: hourly(2)})
	alice, admin := l.as("alice"), l.admin()
	for i := range 3 {
		res := alice.send(http.MethodGet, accounts, "").is(http.StatusOK)
		require.Equal(t, 2-i, res.left())
		require.Equal(t, `"user";q=3;w=3600, "user-at-once";q=64;qu="concurrent-requests"`, res.Header.Get("RateLimit-Policy"))
	}
	require.Equal(t, 1, admin.send(http.MethodGet, accounts, "").is(http.StatusOK).left(), "administrators have a bucket of another size")
	require.Equal(t, 0, admin.send(http.MethodGet, accounts, "").is(http.StatusOK).left())
	w.unchanged(func() {
		for _, r := range api.Routes() {
			if r.Audience == api.Anyone {
				require.Empty(t, alice.send(r.Method, sampleOf(t, r).target, "").is(http.StatusOK).Header["Ratelimit"])
				continue
			}
			for policy, c := range map[string]caller{"user": alice, "system": admin} {
				res := c.send(r.Method, address(r, id), "{", "Content-Type", "text/plain")
				res.fails(http.StatusTooManyRequests, "RATE_LIMITED")
				require.Equal(t, 0, res.left())
				after, err := strconv.Atoi(res.Header.Get("Retry-After"))
				require.NoError(t, err)
				require.Positive(t, after)
				require.Equal(t, `"`+policy+`";r=0;t=`+strconv.Itoa(after), res.Header.Get("RateLimit"), "both say the same")
			}
		}
	})
	require.Equal(t, 2, l.as("bob").send(http.MethodGet, accounts, "").is(http.StatusOK).left(), "others are not affected")
	nobody := caller{world: l}
	for range 5 {
		res := nobody.send(http.MethodGet, accounts, "")
		res.refused()
		require.Empty(t, res.Header["Ratelimit"], "who is nobody has no bucket")
	}
}

// TestCase120: a bucket is the subject's, whatever else changes.
func TestCase120_NothingButTheSubjectCounts(t *testing.T) {
	l := begin(t).limited(api.Limits{User: hourly(4), System: hourly(4)})
	signed := func(g auth.Grant) caller {
		text, err := key().Sign(g)
		require.NoError(t, err)
		return caller{l, text}
	}
	first := signed(auth.Grant{Subject: "alice", Lifetime: time.Hour})
	second := signed(auth.Grant{Subject: "alice", Lifetime: 2 * time.Hour, Scopes: []string{"openid"}})
	require.NotEqual(t, first.token, second.token)
	require.Equal(t, 3, first.send(http.MethodGet, accounts, "", "X-Forwarded-For", "10.0.0.1").left())
	require.Equal(t, 2, second.send(http.MethodGet, accounts, "", "X-Forwarded-For", "10.0.0.2", "X-Real-Ip", "10.0.0.3").left())
	require.Equal(t, 1, first.send(http.MethodGet, accounts, "", "Forwarded", "for=10.0.0.4").left())
	require.Equal(t, 0, second.send(http.MethodGet, accounts, "").left())
	first.send(http.MethodGet, accounts, "", "X-Forwarded-For", "10.0.0.5").fails(http.StatusTooManyRequests, "RATE_LIMITED")
	require.Equal(t, 3, l.as("Alice").send(http.MethodGet, accounts, "").left(), "subjects are compared byte by byte")
}

// TestCase121: asking whether something has changed costs nothing, answers that
// have a body do.
func TestCase121_ANotModifiedIsFree(t *testing.T) {
	w := begin(t)
	it := w.as("alice").save("a").Preferences[0]
	alice := w.limited(api.Limits{User: hourly(3), System: hourly(3)}).as("alice")
	tag := alice.send(http.MethodGet, accounts, "").is(http.StatusOK).Header.Get("ETag")
	for range 20 {
		require.Equal(t, 2, alice.send(http.MethodGet, accounts, "", "If-None-Match", tag).is(http.StatusNotModified).left())
		require.Equal(t, 2, alice.send(http.MethodHead, "/preferences/"+it.ID, "", "If-None-Match", it.ETag).is(http.StatusNotModified).left())
	}
	require.Equal(t, 1, alice.send(http.MethodGet, accounts, "", "If-None-Match", `"other"`).is(http.StatusOK).left())
	require.Equal(t, 0, alice.replace(body("b"), "If-Match", `"other"`).is(http.StatusPreconditionFailed).left(), "a refusal is not free")
	alice.send(http.MethodGet, accounts, "", "If-None-Match", tag).fails(http.StatusTooManyRequests, "RATE_LIMITED")
}

// TestABusyServiceSaysSoAndStaysWell: when all who may work are at work, the
// answer is 503 at once; who only asks for news, and who looks whether the service
// is well, gets through.
func TestABusyServiceSaysSoAndStaysWell(t *testing.T) {
	w := begin(t)
	tag := w.as("alice").save("a").ETag
	alice := w.limited(api.Limits{AtWork: 4}).as("alice")
	tx, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), "select from preference_lists for update")
	require.NoError(t, err)

	answers := make(chan answered, 2)
	for range cap(answers) {
		go func() { answers <- alice.replace(body("b")) }()
	}
	require.Eventually(t, func() bool {
		return w.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == cap(answers)
	}, patience, 5*time.Millisecond, "both saves wait for the lock")
	for _, c := range []caller{alice, alice.as("bob")} {
		res := c.send(http.MethodGet, accounts, "")
		res.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
		require.Equal(t, "2", res.Header.Get("Retry-After"))
		c.replace(body("c")).fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	}
	alice.send(http.MethodGet, accounts, "", "If-None-Match", tag).is(http.StatusNotModified)
	alice.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"z","entityType":"account"}`).is(http.StatusOK)
	caller{world: alice.world}.send(http.MethodGet, "/openapi.yaml", "").is(http.StatusOK)
	require.NoError(t, w.store.Ping(t.Context()))
	require.NotContains(t, w.logs.String(), `"level":"ERROR"`, "refusing is no failure")

	require.NoError(t, tx.Rollback())
	for range cap(answers) {
		(<-answers).is(http.StatusOK)
	}
	alice.save("c")
}
