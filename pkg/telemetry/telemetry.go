// Package telemetry shows how a process is doing: metrics by the OpenTelemetry
// API in the format of Prometheus, traces for a collector, and whether it is
// alive and ready.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	tracing "go.opentelemetry.io/otel/sdk/trace"
)

// scope names the instruments of the product.
const scope = "github.com/prefsd/prefsd"

const (
	scrapeTimeout = 10 * time.Second
	maxScrapes    = 4
)

// Telemetry holds the metrics and traces of one process and whether it is ready.
// Its registry is its own, so that several can live in one program.
type Telemetry struct {
	provider *sdk.MeterProvider
	registry *prometheus.Registry
	alive    atomic.Pointer[func(context.Context) error]
	traces   *tracing.TracerProvider // nil: they go nowhere
	ready    atomic.Pointer[func(context.Context) error]
}

// New returns metrics and traces that carry the name and version of the service.
// Variables named OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME add to them;
// others of OpenTelemetry say where traces go, see newTraces.
func New(ctx context.Context, service, version string, log *slog.Logger) (*Telemetry, error) {
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("describe the process: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("export metrics: %w", err)
	}
	traces, err := newTraces(ctx, about, log)
	if err != nil {
		return nil, err
	}
	return &Telemetry{provider: sdk.NewMeterProvider(sdk.WithReader(reader), sdk.WithResource(about)), registry: registry, traces: traces}, nil
}

// Meter makes the instruments. Their names are those on /metrics: prefs_..., with
// _total and the unit at the end.
func (t *Telemetry) Meter() metric.Meter { return t.provider.Meter(scope) }

// Handler answers scrapes.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		// One collector that fails must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}

// Shutdown ends the collection of metrics, and delivers the spans at hand if that
// can be done soon.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.flush(ctx)
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut metrics down: %w", err)
	}
	return nil
}
