package telemetry_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/telemetry"
)

func TestATraceContextGoesOnAsItCame(t *testing.T) {
	t.Parallel()
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	require.Equal(t, given, telemetry.Traceparent(telemetry.Continue(t.Context(), given)))
	for _, broken := range []string{"", "00", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff" + given[2:]} {
		require.Empty(t, telemetry.Traceparent(telemetry.Continue(t.Context(), broken)), "%q", broken)
	}
}

func TestTracesGoWhereOpenTelemetrysVariablesSay(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for exporter, made := range map[string]bool{"": false, "none": false, "otlp": true} {
		t.Setenv("OTEL_TRACES_EXPORTER", exporter)
		m, err := telemetry.New(t.Context(), "api", "1", log)
		require.NoError(t, err, exporter)
		require.Equal(t, made, m.Traces() != nil, exporter)
		require.Equal(t, made, m.Tracer() != nil, exporter)
		require.NoError(t, m.Shutdown(t.Context()))
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "pigeon")
	_, err := telemetry.New(t.Context(), "api", "1", log)
	require.ErrorContains(t, err, "OTEL_TRACES_EXPORTER")
}
