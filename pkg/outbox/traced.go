package outbox

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span of each message that carries a trace context, a child of
// the span that wrote the row. The message itself stays as it is: the broker
// recognises a repetition by its bytes.
type traced struct {
	Publisher

	tracer trace.Tracer
}

// Publish implements Publisher.
func (t traced) Publish(ctx context.Context, msgs []Message) []error {
	spans := make([]trace.Span, len(msgs))
	for i := range msgs {
		spans[i] = t.begin(ctx, &msgs[i])
	}
	results := t.Publisher.Publish(ctx, msgs)
	for i, span := range spans {
		if span == nil {
			continue
		}
		if err := results[i]; err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "not published")
		}
		span.End()
	}
	return results
}

// begin returns the span of a message, or nil.
func (t traced) begin(ctx context.Context, m *Message) trace.Span {
	if parent := contextOf(m); parent != nil {
		_, span := t.tracer.Start(propagation.TraceContext{}.Extract(ctx, parent), "send "+m.Topic,
			trace.WithSpanKind(trace.SpanKindProducer),
			trace.WithAttributes(semconv.MessagingSystemKafka, semconv.MessagingOperationTypeSend, semconv.MessagingDestinationName(m.Topic),
				semconv.MessagingMessageID(m.EventID.String()), semconv.MessagingMessageBodySize(len(m.Value))))
		return span
	}
	return nil
}

// contextOf returns the trace context of a message, or nil.
func contextOf(m *Message) propagation.MapCarrier {
	for _, h := range m.Headers {
		if h.Name == traceparent {
			return propagation.MapCarrier{traceparent: string(h.Value)}
		}
	}
	return nil
}

const traceparent = "traceparent"
