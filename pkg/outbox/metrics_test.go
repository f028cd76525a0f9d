package outbox_test

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// scrape returns what /metrics says of the relay, without labels.
func scrape(t *testing.T, metrics *telemetry.Telemetry) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	series := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && strings.HasPrefix(name, "prefs_") {
			series[name] = value
		}
	}
	return series
}

func TestMetricsTellTheStateOfTheRelay(t *testing.T) {
	t.Parallel()
	metrics, err := telemetry.New(t.Context(), "test", "0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, metrics.Shutdown(t.Context())) })
	story(t, func(b *bench) {
		b.start(outbox.Config{Meter: metrics.Meter()})
		b.put("u", "u", "v")
		b.pass(time.Second)
		b.answers(unreachable)
		b.put("v")
		b.pass(11 * time.Second)
		got := scrape(b.T, metrics)
		require.Equal(b, "1", got["prefs_relay_is_leader"])
		require.Equal(b, "1", got["prefs_relay_broker_away"])
		require.Equal(b, "0", got["prefs_relay_needs_reanchor"])
		require.Equal(b, "0", got["prefs_relay_fenced_total"])
		require.Equal(b, "0", got["prefs_outbox_pruned_total"])
		require.Equal(b, "0", got["prefs_outbox_quarantined"])
		require.Equal(b, "11", got["prefs_outbox_oldest_unpublished_age_seconds"])
		require.Equal(b, "3", got["prefs_outbox_delivery_lag_seconds_count"])
		b.with(func() { b.epoch, b.paused = b.epoch+1, true })
		b.pass(time.Second)
		got = scrape(b.T, metrics)
		require.Equal(b, "0", got["prefs_relay_is_leader"])
		require.Equal(b, "1", got["prefs_relay_fenced_total"])
	})
}
