package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, h http.Handler, method, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	response := w.Result()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func fine(context.Context) error { return nil }

func newTelemetry(t *testing.T) *telemetry.Telemetry {
	t.Helper()
	m, err := telemetry.New(t.Context(), "api", "1.2.3", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Shutdown(context.WithoutCancel(t.Context()))) })
	return m
}

func TestInstrumentsKeepTheirNames(t *testing.T) {
	t.Parallel()
	m := newTelemetry(t)
	counter, err := m.Meter().Int64Counter("prefs_relay_fenced_total")
	require.NoError(t, err)
	counter.Add(t.Context(), 3, metric.WithAttributes(attribute.String("reason", "lease")))
	lag, err := m.Meter().Float64Histogram("prefs_outbox_delivery_lag_seconds", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.1, 1))
	require.NoError(t, err)
	lag.Record(t.Context(), 0.5)
	leader, err := m.Meter().Int64Gauge("prefs_relay_is_leader")
	require.NoError(t, err)
	leader.Record(t.Context(), 1)

	response, body := get(t, telemetry.AdminHandler(fine, fine, m.Handler()), http.MethodGet, "/metrics")
	require.Equal(t, http.StatusOK, response.StatusCode)
	for _, line := range []string{
		"prefs_relay_fenced_total{reason=\"lease\"} 3\n",
		"prefs_outbox_delivery_lag_seconds_bucket{le=\"0.1\"} 0\n",
		"prefs_outbox_delivery_lag_seconds_bucket{le=\"1\"} 1\n",
		"prefs_outbox_delivery_lag_seconds_count 1\n",
		"prefs_relay_is_leader 1\n",
		"service_name=\"api\",service_version=\"1.2.3\"",
		"go_goroutines ",
		"process_open_fds ",
	} {
		require.Contains(t, body, line)
	}
	require.NotContains(t, body, "otel_scope_name")
}

func TestProcessesInOneProgramDoNotMix(t *testing.T) {
	t.Parallel()
	one, two := newTelemetry(t), newTelemetry(t)
	counter, err := one.Meter().Int64Counter("prefs_things_total")
	require.NoError(t, err)
	counter.Add(t.Context(), 1)
	_, body := get(t, one.Handler(), http.MethodGet, "/metrics")
	require.Contains(t, body, "prefs_things_total 1")
	_, body = get(t, two.Handler(), http.MethodGet, "/metrics")
	require.NotContains(t, body, "prefs_things_total")
}

func TestProbesAreAnswered(t *testing.T) {
	t.Parallel()
	broken := errors.New("dial tcp 10.0.0.7:5432: refused")
	for name, c := range map[string]struct {
		alive  []telemetry.Check
		ready  telemetry.Ask
		method string
		path   string
		status int
		body   string
	}{
		"alive":               {method: http.MethodGet, path: "/livez", status: 200, body: `{"status":"alive"}`},
		"alive though broken": {ready: func(context.Context) error { return broken }, method: http.MethodGet, path: "/livez", status: 200, body: `{"status":"alive"}`},
		"stuck": {
			alive:  []telemetry.Check{{Name: "handler", Ready: func(context.Context) error { return broken }}},
			method: http.MethodGet, path: "/livez", status: 503, body: `{"status":"stuck","waiting":["handler"]}`,
		},
		"alive, HEAD":          {method: http.MethodHead, path: "/livez", status: 200},
		"ready":                {method: http.MethodGet, path: "/readyz", status: 200, body: `{"status":"ready"}`},
		"ready, HEAD":          {method: http.MethodHead, path: "/readyz", status: 200},
		"not ready":            {ready: func(context.Context) error { return broken }, method: http.MethodGet, path: "/readyz", status: 503, body: `{"status":"not ready"}`},
		"metrics, HEAD":        {method: http.MethodHead, path: "/metrics", status: 200},
		"nothing to write to":  {method: http.MethodPost, path: "/readyz", status: 405},
		"nothing else":         {method: http.MethodGet, path: "/", status: 404},
		"no profile":           {method: http.MethodGet, path: "/debug/pprof/", status: 404},
		"no trailing anything": {method: http.MethodGet, path: "/livez/", status: 404},
		"names what it waits for": {
			ready: telemetry.All(
				telemetry.Check{Name: "keys", Ready: func(context.Context) error { return broken }},
				telemetry.Check{Name: "broker", Ready: fine},
				telemetry.Check{Name: "database", Ready: func(context.Context) error { return broken }},
			),
			method: http.MethodGet, path: "/readyz", status: 503, body: `{"status":"not ready","waiting":["database","keys"]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.ready == nil {
				c.ready = telemetry.All()
			}
			response, body := get(t, telemetry.AdminHandler(telemetry.All(c.alive...), c.ready, newTelemetry(t).Handler()), c.method, c.path)
			require.Equal(t, c.status, response.StatusCode)
			require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			if c.body != "" {
				require.JSONEq(t, c.body, body)
				require.Equal(t, "application/json", response.Header.Get("Content-Type"))
			}
			if c.status == http.StatusMethodNotAllowed {
				require.Equal(t, "GET, HEAD", response.Header.Get("Allow"))
			}
			require.NotContains(t, body, "10.0.0.7")
		})
	}
}

func TestReasonsStayForLogs(t *testing.T) {
	t.Parallel()
	broken := errors.New("refused")
	err := telemetry.All(telemetry.Check{Name: "database", Ready: func(context.Context) error { return broken }})(t.Context())
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "not ready: database: refused")
}

func TestASlowCheckIsNotReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := telemetry.All(telemetry.Check{Name: "database", Ready: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestMetricsCompressWell(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	telemetry.AdminHandler(fine, fine, newTelemetry(t).Handler()).ServeHTTP(w, r)
	require.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
	require.True(t, strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain"))
}
