package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api"
)

// BenchmarkHandler is what a request costs without its socket: middleware,
// token, query, store and answer.
func BenchmarkHandler(b *testing.B) {
	store, err := postgres.Open(postgres.Config{URL: pgtest.New(b), MaxConns: 4, Announcer: announcer})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	v, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: key()}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	signed, err := key().Sign(auth.Grant{Subject: "alice"})
	require.NoError(b, err)
	h := api.New(api.Options{
		Preferences: preferences.New(preferences.Options{Store: store, Announcer: announcer}), Verifier: v,
		Log: slog.New(slog.DiscardHandler), Timeout: 10 * time.Second,
	})
	send := func(method, target, body, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(b.Context(), method, target, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+signed)
		r.Header.Set("Content-Type", "application/json")
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	saved := send(http.MethodPut, "/preferences:batchReplace", body(many(20)...), "")
	require.Equal(b, http.StatusOK, saved.Code)
	tag := saved.Header().Get("ETag")
	for _, c := range []struct {
		name, method, target, body, tag string
		status                          int
	}{
		{"not modified", http.MethodGet, accounts, "", tag, http.StatusNotModified},
		{"list of 20", http.MethodGet, accounts, "", "", http.StatusOK},
		{"save without a change", http.MethodPut, "/preferences:batchReplace", body(many(20)...), "", http.StatusOK},
		{"without a token", http.MethodGet, "/nope", "", "", http.StatusNotFound},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if rec := send(c.method, c.target, c.body, c.tag); rec.Code != c.status {
					b.Fatalf("answered %d: %s", rec.Code, rec.Body)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpu is the processor time that this process has taken, which other processes
// on the machine do not lengthen.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
