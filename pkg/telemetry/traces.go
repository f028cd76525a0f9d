package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	tracing "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushWithin bounds what a process that stops waits for a collector.
const flushWithin = 3 * time.Second

// header is W3C's name for a span in a carrier.
const header = "traceparent"

// newTraces returns where spans go: nowhere, which is nil, unless the variable
// OTEL_TRACES_EXPORTER names an exporter. Unlike in the specification that is not
// the default: who has no collector should not read of it. Other variables of
// OpenTelemetry say where the collector is and how many spans are kept.
func newTraces(ctx context.Context, about *resource.Resource, log *slog.Logger) (*tracing.TracerProvider, error) {
	nowhere := func(context.Context) (tracing.SpanExporter, error) { return nil, nil }
	exporter, err := autoexport.NewSpanExporter(ctx, autoexport.WithFallbackSpanExporter(nowhere))
	if err != nil {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: %w", err)
	}
	if exporter == nil || autoexport.IsNoneSpanExporter(exporter) {
		return nil, nil
	}
	// The library has one handler for a whole program. A collector that is away
	// costs spans, and nothing else.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.WarnContext(context.WithoutCancel(ctx), "traces are lost", slog.Any("error", err))
	}))
	return tracing.NewTracerProvider(tracing.WithBatcher(exporter), tracing.WithResource(about)), nil
}

// Traces is where spans go, for instrumentation that makes them itself. It is nil
// if they go nowhere.
func (t *Telemetry) Traces() trace.TracerProvider {
	if t.traces == nil {
		return nil
	}
	return t.traces
}

// Tracer makes the product's own spans. It is nil if they go nowhere.
func (t *Telemetry) Tracer() trace.Tracer {
	if t.traces == nil {
		return nil
	}
	return t.traces.Tracer(scope)
}

// flush delivers the spans at hand, if that can be done soon.
func (t *Telemetry) flush(ctx context.Context) {
	if t.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if err := t.traces.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// Traceparent spells the span of a context as W3C does, version 00. It is empty
// if there is none.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// Continue returns a context whose next span is a child of the one that is
// spelled, if it is one.
func Continue(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: traceparent})
}
