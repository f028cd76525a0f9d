package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// metrics are what a consumer shows to the outside. No label holds anything
// that a publisher chose.
type metrics struct {
	events     metric.Int64Counter
	delay      metric.Float64Histogram
	operations metric.Int64Counter
	failures   metric.Int64Counter
	resets     metric.Int64Counter
	hangs      metric.Int64Counter
	rebalances metric.Int64Counter
}

// delayBuckets reach from a good day to a backlog of a day.
var delayBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{}
	var errs [7]error
	m.events, errs[0] = meter.Int64Counter("prefs_events_total",
		metric.WithDescription("Attempts at consumed events, by what became of them."))
	m.delay, errs[1] = meter.Float64Histogram("prefs_event_processing_delay_seconds", metric.WithUnit("s"),
		metric.WithDescription("Time from an event's own timestamp until it was applied."),
		metric.WithExplicitBucketBoundaries(delayBuckets...))
	m.operations, errs[2] = meter.Int64Counter("prefs_operations_total",
		metric.WithDescription("Turns of operations, by how they ended."))
	m.failures, errs[3] = meter.Int64Counter("prefs_kafka_failures_total",
		metric.WithDescription("What the consumer group had to try again, by its part."))
	m.resets, errs[4] = meter.Int64Counter("prefs_kafka_offset_resets_total",
		metric.WithDescription("Offsets that were not in the log any more; records may be lost."))
	m.hangs, errs[5] = meter.Int64Counter("prefs_kafka_handler_hangs_total",
		metric.WithDescription("Records whose handler took twice the time that it may; their partitions stood still."))
	m.rebalances, errs[6] = meter.Int64Counter("prefs_kafka_rebalances_total",
		metric.WithDescription("Generations of the consumer group that this process took part in."))
	return m, errors.Join(errs[:]...)
}

// prepare makes the series exist before anything happens, so that the first
// dead letter is an increase.
func (m *metrics) prepare(ctx context.Context, r routes) {
	types := []string{otherType}
	for at := range r {
		types = append(types, string(at.typ))
	}
	slices.Sort(types)
	for _, t := range slices.Compact(types) {
		for _, o := range []Outcome{Applied, Duplicate, Skipped, DeadLettered, Retried} {
			m.events.Add(ctx, 0, metric.WithAttributes(attribute.String("type", t), attribute.String("outcome", string(o))))
		}
	}
	for _, c := range []metric.Int64Counter{m.resets, m.hangs, m.rebalances} {
		c.Add(ctx, 0)
	}
}

func (m *metrics) record(s Sample) {
	ctx := context.Background() // an attempt that ran out of time counts too
	label := attribute.String("type", s.Type)
	m.events.Add(ctx, 1, metric.WithAttributes(label, attribute.String("outcome", string(s.Outcome))))
	if s.Outcome == Applied {
		m.delay.Record(ctx, s.Delay.Seconds(), metric.WithAttributes(label))
	}
}

func (m *metrics) turned(kind preferences.OperationKind, o operations.Outcome) {
	m.operations.Add(context.Background(), 1, metric.WithAttributes(attribute.String("kind", string(kind)), attribute.String("outcome", string(o))))
}

func (m *metrics) failed(stage string) {
	m.failures.Add(context.Background(), 1, metric.WithAttributes(attribute.String("stage", stage)))
}

func (m *metrics) reset() { m.resets.Add(context.Background(), 1) }

func (m *metrics) hung() { m.hangs.Add(context.Background(), 1) }

func (m *metrics) rebalanced() { m.rebalances.Add(context.Background(), 1) }

// showLag reports, at each scrape, what each calls it with.
func showLag(meter metric.Meter, each func(report func(topic string, partition int, records int64))) error {
	_, err := meter.Int64ObservableGauge("prefs_kafka_consumer_lag",
		metric.WithDescription("Records of a partition that are visible and not handled yet."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			each(func(topic string, partition int, records int64) {
				o.Observe(records, metric.WithAttributes(attribute.String("topic", topic), attribute.Int("partition", partition)))
			})
			return nil
		}))
	return err
}

// showPause reports whether all partitions wait for the database.
func showPause(meter metric.Meter, paused func() bool) error {
	return telemetry.ShowFlag(meter, "prefs_consumer_paused", "1 while no record is tried because the database is away.", paused)
}

// countWithin bounds what a database that is away costs a scrape.
const countWithin = time.Second

// showOperations reports, at each scrape, how many operations go on, and how
// many failed and are still remembered. While the database is away there is no
// value.
func showOperations(meter metric.Meter, count func(context.Context) (map[preferences.OperationState]int64, error)) error {
	_, err := meter.Int64ObservableGauge("prefs_operations",
		metric.WithDescription("Operations by state: those that go on, and those that failed; no value while the database is away."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			ctx, cancel := context.WithTimeout(ctx, countWithin)
			defer cancel()
			counts, err := count(ctx)
			if err != nil {
				return nil
			}
			for _, state := range []preferences.OperationState{preferences.Pending, preferences.Running, preferences.Compensating, preferences.Failed} {
				o.Observe(counts[state], metric.WithAttributes(attribute.String("state", string(state))))
			}
			return nil
		}))
	return err
}
