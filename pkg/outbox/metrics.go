package outbox

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// metrics are what a relay shows to the outside.
type metrics struct {
	lag           metric.Float64Histogram
	fencedTotal   metric.Int64Counter
	prunedTotal   metric.Int64Counter
	lostTotal     metric.Int64Counter
	registration  metric.Registration
	leader        metric.Int64ObservableGauge
	oldest        metric.Float64ObservableGauge
	quarantined   metric.Int64ObservableGauge
	brokerAway    metric.Int64ObservableGauge
	needsReanchor metric.Int64ObservableGauge
	paused        metric.Int64ObservableGauge
}

// lagBuckets are around the milliseconds of a good day and reach to an outage.
var lagBuckets = []float64{.001, .002, .003, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800}

func newMetrics(meter metric.Meter, r *Relay) (*metrics, error) {
	m := &metrics{}
	var errs [10]error
	m.lag, errs[0] = meter.Float64Histogram("prefs_outbox_delivery_lag_seconds", metric.WithUnit("s"),
		metric.WithDescription("Time from writing an event to its acknowledgement by the broker."),
		metric.WithExplicitBucketBoundaries(lagBuckets...))
	m.fencedTotal, errs[1] = meter.Int64Counter("prefs_relay_fenced_total",
		metric.WithDescription("Terms that ended because the lease was lost."))
	m.prunedTotal, errs[2] = meter.Int64Counter("prefs_outbox_pruned_total",
		metric.WithDescription("Published rows that were deleted after their retention."))
	m.leader, errs[3] = meter.Int64ObservableGauge("prefs_relay_is_leader",
		metric.WithDescription("1 on the relay that publishes."))
	m.oldest, errs[4] = meter.Float64ObservableGauge("prefs_outbox_oldest_unpublished_age_seconds", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest unpublished event has waited."))
	m.quarantined, errs[5] = meter.Int64ObservableGauge("prefs_outbox_quarantined",
		metric.WithDescription("Events that wait in quarantine for a decision."))
	m.brokerAway, errs[6] = meter.Int64ObservableGauge("prefs_relay_broker_away",
		metric.WithDescription("1 while the leader gets no answer from the broker."))
	m.needsReanchor, errs[7] = meter.Int64ObservableGauge("prefs_relay_needs_reanchor",
		metric.WithDescription("1 while nothing is published until an operator anchors the cursor anew."))
	m.paused, errs[8] = meter.Int64ObservableGauge("prefs_relay_paused",
		metric.WithDescription("1 while nothing is published because an operator wants that."))
	m.lostTotal, errs[9] = meter.Int64Counter("prefs_relay_commits_lost_total",
		metric.WithDescription("Times that the database lacked what had been committed, as after a failover to a standby that was behind."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var err error
	m.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.observe(o, r)
		return nil
	}, m.leader, m.oldest, m.quarantined, m.brokerAway, m.needsReanchor, m.paused)
	m.fencedTotal.Add(context.Background(), 0) // the series exist before anything happens
	m.prunedTotal.Add(context.Background(), 0)
	m.lostTotal.Add(context.Background(), 0)
	return m, err
}

func (m *metrics) observe(o metric.Observer, r *Relay) {
	s := r.Status()
	o.ObserveInt64(m.leader, number(s.Leader))
	o.ObserveInt64(m.brokerAway, number(s.BrokerAway))
	o.ObserveInt64(m.needsReanchor, number(s.NeedsReanchor))
	o.ObserveInt64(m.paused, number(s.Paused))
	o.ObserveInt64(m.quarantined, s.Quarantined)
	if s.Leader || !r.led() {
		o.ObserveFloat64(m.oldest, s.OldestAge.Seconds())
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) published(ctx context.Context, lag time.Duration) { m.lag.Record(ctx, lag.Seconds()) }
func (m *metrics) fenced(ctx context.Context)                       { m.fencedTotal.Add(ctx, 1) }
func (m *metrics) lost(ctx context.Context)                         { m.lostTotal.Add(ctx, 1) }
func (m *metrics) pruned(ctx context.Context, rows int)             { m.prunedTotal.Add(ctx, int64(rows)) }

func (m *metrics) close() { _ = m.registration.Unregister() }
