package consumer

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/pkg/verify"
)

// verifyMetrics are what looking at the whole database shows to the outside.
type verifyMetrics struct {
	runs       metric.Int64Counter
	violations metric.Int64Counter
}

func newVerifyMetrics(meter metric.Meter) (*verifyMetrics, error) {
	m := &verifyMetrics{}
	var errs [2]error
	m.runs, errs[0] = meter.Int64Counter("prefs_verify_runs_total",
		metric.WithDescription("Looks at the whole database that have come to their end."))
	m.violations, errs[1] = meter.Int64Counter("prefs_verify_violations_total",
		metric.WithDescription("Promises that were found broken, by invariant; each look counts what it finds."))
	return m, errors.Join(errs[:]...)
}

// prepare makes the series exist before anything happens.
func (m *verifyMetrics) prepare(ctx context.Context) {
	m.runs.Add(ctx, 0)
	for _, name := range verify.Invariants() {
		m.violations.Add(ctx, 0, metric.WithAttributes(attribute.String("invariant", name)))
	}
}

func (m *verifyMetrics) ran(q verify.Quality) {
	ctx := context.Background()
	m.runs.Add(ctx, 1)
	for _, s := range q.Invariants {
		m.violations.Add(ctx, int64(s.Violations), metric.WithAttributes(attribute.String("invariant", s.Invariant)))
	}
}
