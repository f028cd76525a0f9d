package api_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api"
)

// BenchmarkHandler is what a request costs without its socket: middleware,
// token, query, store and answer.
func BenchmarkHandler(b *testing.B) {
	store, err := postgres.Open(postgres.Config{URL: pgtest.New(b), MaxConns: 4, Cache: 1 << 20, Announcer: announcer})
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
	saved := send(http.MethodPut, "/preferences:batchReplace", labelled(many(20)...), "")
	require.Equal(b, http.StatusOK, saved.Code)
	tag := saved.Header().Get("ETag")
	var list struct{ Preferences []struct{ ID string } }
	require.NoError(b, json.Unmarshal(saved.Body.Bytes(), &list))
	item := "/preferences/" + list.Preferences[7].ID
	moved := many(20)
	moved[0], moved[7] = moved[7], moved[0]
	orders, n := []string{labelled(moved...), labelled(many(20)...)}, 0
	for _, c := range []struct {
		name, method, target, body, tag string
		status                          int
	}{
		{"not modified", http.MethodGet, accounts, "", tag, http.StatusNotModified},
		{"list of 20", http.MethodGet, accounts, "", "", http.StatusOK},
		{"save without a change", http.MethodPut, "/preferences:batchReplace", labelled(many(20)...), "", http.StatusOK},
		{"save with a move", http.MethodPut, "/preferences:batchReplace", "", "", http.StatusOK},
		{"patch", http.MethodPatch, item, "", "", http.StatusOK},
		{"without a token", http.MethodGet, "/nope", "", "", http.StatusNotFound},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				n++
				text := c.body
				switch c.method {
				case http.MethodPatch:
					text = fmt.Sprintf(`{"attributes":{"v":%d}}`, n)
				case http.MethodPut:
					text = cmp.Or(text, orders[n%2])
				}
				if rec := send(c.method, c.target, text, c.tag); rec.Code != c.status {
					b.Fatalf("answered %d: %s", rec.Code, rec.Body)
				}
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

// labelled is the save of a page: every item with its attributes.
func labelled(ids ...string) string {
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = fmt.Sprintf(`{"entityId":%q,"order":%d,"attributes":{"label":"Everyday account","pinned":true}}`, id, i+1)
	}
	return items0(items...)
}

// BenchmarkChain is what everything round a handler costs, with nothing inside:
// id, log, metrics, token, limits, headers, and the body in either encoding. The
// first row is what the benchmark itself takes, the second what compressing such
// a body takes wherever it is done: to know what the chain costs, take the first
// from every row, and the second from the last as well.
func BenchmarkChain(b *testing.B) {
	v, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: key()}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	signed, err := key().Sign(auth.Grant{Subject: "alice"})
	require.NoError(b, err)
	text := api.Text(`{"preferences":[` + strings.Repeat(`{"entityId":"acc-00123","attributes":{"isFavorite":true}},`, 80) + `{}]}`)
	record, err := api.NewRecord(metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())).Meter("bench"))
	require.NoError(b, err)
	limits := generous
	limits.User.Requests = 1_000_000_000
	log := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // lines are written, as they are in production
	h := api.Around(api.Options{
		Preferences: preferences.New(preferences.Options{}), Verifier: v, Log: log, Record: record,
		Timeout: 10 * time.Second, Limiter: api.NewLimiter(limits), Browsers: api.Browsers{Origins: []string{page}},
	}, func(c echo.Context) error { return api.AnswerRead(c, "0123456789abcdef", text) },
		func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	nothing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	packer, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	require.NoError(b, err)
	var packed bytes.Buffer
	compression := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		packed.Reset()
		packer.Reset(&packed)
		_, _ = packer.Write([]byte(text))
		_ = packer.Close()
		w.WriteHeader(http.StatusNoContent)
	})
	for _, c := range []struct {
		name                   string
		h                      http.Handler
		method, target, coding string
	}{
		{"no chain", nothing, http.MethodPost, "/write", ""},
		{"no chain, 4 KB to gzip", compression, http.MethodPost, "/write", ""},
		{"write", h, http.MethodPost, "/write", ""},
		{"read of 4 KB", h, http.MethodGet, "/read", ""},
		{"read of 4 KB, gzip", h, http.MethodGet, "/read", "gzip"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), c.method, c.target, strings.NewReader(`{}`))
				r.Header.Set("Authorization", "Bearer "+signed)
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Origin", page)
				r.Header.Set("Accept-Encoding", c.coding)
				rec := httptest.NewRecorder()
				if c.h.ServeHTTP(rec, r); rec.Code/100 != 2 {
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
