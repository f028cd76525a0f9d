// Package consumer is the Kafka edge: it turns owners' events into calls of
// preferences.Service and settles each record for good, nothing more.
package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// Store is what a record is settled in where it has no effect, and what the
// consumer waits for in an outage.
type Store interface {
	Update(ctx context.Context, fn func(context.Context, preferences.Tx) error) error
	Ping(ctx context.Context) error
}

// Options are what a Consumer is made of. Sweep, Record, Tracer, Now
// and NewID have defaults.
type Options struct {
	Preferences *preferences.Service
	Domains     preferences.Domains
	UserEvents  string // topic
	Store       Store
	Group       string // the consumer group: it is the inbox that records are entered in
	DeadLetters string // topic
	Version     string // of the service, for dead letters
	Log         *slog.Logger

	Sweep  func()       // called when a clean stays open; default: nothing
	Record func(Sample) // called for each attempt, for metrics; default: nothing
	Tracer trace.Tracer // default: none
	Now    func() time.Time
	NewID  func() uuid.UUID
}

// Consumer settles records.
type Consumer struct {
	Options
	routes routes
	tries  tries
	away   atomic.Bool // the database did not answer a record; see Gate
	paused atomic.Bool // nor when it was asked by itself
}

// New returns a consumer of the domains' events. It refuses domains that give
// one event two meanings.
func New(o Options) (*Consumer, error) {
	if o.Sweep == nil {
		o.Sweep = func() {}
	}
	if o.Record == nil {
		o.Record = func(Sample) {}
	}
	if o.Tracer == nil {
		o.Tracer = noop.Tracer{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = preferences.NewID
	}
	r, err := newRoutes(o.Domains, o.UserEvents)
	if err != nil {
		return nil, err
	}
	return &Consumer{Options: o, routes: r}, nil
}

// Outcome says what became of one attempt at a record.
type Outcome string

// Outcomes of an attempt.
const (
	Applied      Outcome = "applied"
	Duplicate    Outcome = "duplicate" // the inbox has it
	Skipped      Outcome = "skipped"   // of no interest here, now; a later release may think otherwise
	DeadLettered Outcome = "dead_lettered"
	Retried      Outcome = "retried" // not settled: it comes again
)

// Sample is what became of one attempt, for metrics.
type Sample struct {
	Type    string // a configured event type, or "other"
	Outcome Outcome
	Delay   time.Duration // since it happened, by the owner's clock; only of what was applied
}

// Settle tries one record; attempt counts from 1. Nil means that the record is
// done, whatever became of it: its offset may be committed. An error means that
// the same record has to come again before any later one of its partition.
//
// Settling and its mark in the inbox are one commit, so that a crash leaves
// either both or none. What is skipped leaves no mark: there is nothing to do
// twice, and a release that knows the type can still apply it.
func (c *Consumer) Settle(ctx context.Context, r events.Record, attempt int) error {
	e, err := events.Decode(r.Headers, r.Key, r.Value)
	if errors.Is(err, events.ErrNoValue) {
		c.Record(Sample{Type: otherType, Outcome: Skipped})
		return nil
	}
	ctx, span := c.trace(ctx, r, &e)
	defer span.End()
	outcome := Retried
	if err == nil {
		outcome, err = c.survive(ctx, r, e)
	}
	if err != nil {
		outcome, err = c.dispose(ctx, failure{record: r, event: e, attempt: attempt, cause: err})
	}
	switch {
	case err == nil:
		c.tries.settled(r)
	case fault.CodeOf(err) == fault.Unavailable:
		c.away.Store(true)
	}
	s := Sample{Type: c.routes.label(r.Topic, e.Type), Outcome: outcome}
	if outcome == Applied {
		s.Delay = c.Now().Sub(e.Time)
	}
	c.Record(s)
	span.SetAttributes(attribute.String("prefs.outcome", string(outcome)))
	return err
}

// trace begins the span of an attempt, a child of the owner's. What the event
// causes belongs to it from here on.
func (c *Consumer) trace(ctx context.Context, r events.Record, e *events.Event) (context.Context, trace.Span) {
	ctx, span := c.Tracer.Start(telemetry.Continue(ctx, e.Traceparent), "process "+r.Topic, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(semconv.MessagingSystemKafka, semconv.MessagingOperationTypeProcess, semconv.MessagingDestinationName(r.Topic),
			semconv.MessagingDestinationPartitionID(strconv.Itoa(r.Partition)), semconv.MessagingKafkaOffset(int(r.Offset)),
			semconv.MessagingConsumerGroupName(c.Group), semconv.MessagingMessageID(e.ID)))
	e.Traceparent = cmp.Or(telemetry.Traceparent(ctx), e.Traceparent)
	return ctx, span
}

// survive turns a panic into an unknown error. Otherwise one record that finds a
// bug would end every process that its partition is given to.
func (c *Consumer) survive(ctx context.Context, r events.Record, e events.Event) (o Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			o, err = Retried, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.handle(ctx, r, e)
}

// Gate holds every partition back while the database does not answer: one ping
// is cheaper than the records of all of them.
func (c *Consumer) Gate(ctx context.Context) error {
	if !c.away.Load() {
		return nil
	}
	if err := c.Store.Ping(ctx); err != nil {
		if ctx.Err() == nil && c.paused.CompareAndSwap(false, true) {
			c.Log.WarnContext(ctx, "consumption is paused: the database is away", slog.Any("error", err))
		}
		return fmt.Errorf("wait for the database: %w", err)
	}
	c.away.Store(false)
	if c.paused.CompareAndSwap(true, false) {
		c.Log.InfoContext(ctx, "consumption goes on: the database is back")
	}
	return nil
}

// Paused reports whether every partition waits for the database.
func (c *Consumer) Paused() bool { return c.paused.Load() }

func (c *Consumer) delivery(r events.Record, e events.Event) preferences.Delivery {
	return preferences.Delivery{Consumer: c.Group, Topic: r.Topic, EventID: e.ID, Partition: r.Partition, Offset: r.Offset, Traceparent: e.Traceparent}
}
