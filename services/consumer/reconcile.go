package consumer

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/telemetry"
)

// reconcileMetrics are what the comparison with owners shows to the outside.
type reconcileMetrics struct {
	runs       metric.Int64Counter
	orphans    metric.Int64Counter
	lifted     metric.Int64Counter
	exceptions metric.Int64Counter
	open       atomic.Bool // the breaker
}

func newReconcileMetrics(meter metric.Meter) (*reconcileMetrics, error) {
	m := &reconcileMetrics{}
	var errs [5]error
	m.runs, errs[0] = meter.Int64Counter("prefs_reconciliation_runs_total",
		metric.WithDescription("Comparisons of lists with the owner's entities that have ended."))
	m.orphans, errs[1] = meter.Int64Counter("prefs_reconciliation_orphans_total",
		metric.WithDescription("Entities that a comparison found missing twice, and had cleaned."))
	m.lifted, errs[2] = meter.Int64Counter("prefs_reconciliation_lifted_total",
		metric.WithDescription("Entities that counted as deleted here and that the owner has."))
	m.exceptions, errs[3] = meter.Int64Counter("prefs_reconciliation_exceptions_total",
		metric.WithDescription("Comparisons that ended without doing anything: the owner could not be asked, or not be believed."))
	errs[4] = telemetry.ShowFlag(meter, "prefs_directory_breaker_open", "1 while the owner of entities is not asked because it fails.", m.open.Load)
	return m, errors.Join(errs[:]...)
}

// prepare makes the series exist before anything happens.
func (m *reconcileMetrics) prepare(ctx context.Context) {
	for _, c := range []metric.Int64Counter{m.runs, m.orphans, m.lifted, m.exceptions} {
		c.Add(ctx, 0)
	}
}

func (m *reconcileMetrics) opened(open bool) { m.open.Store(open) }

func (m *reconcileMetrics) ran(r reconcile.Report) {
	ctx := context.Background()
	m.runs.Add(ctx, 1)
	if r.Exception != "" {
		m.exceptions.Add(ctx, 1)
	}
	m.lifted.Add(ctx, r.Lifted)
	m.orphans.Add(ctx, r.Cleaned)
}
