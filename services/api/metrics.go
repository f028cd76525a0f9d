package api

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// metrics are what the API shows to the outside. No label holds anything that
// a caller chose.
type metrics struct {
	requests  metric.Float64Histogram
	conflicts metric.Int64Counter
	skips     metric.Int64Counter
	series    sync.Map // of series to its metric.MeasurementOption, which is costly to make
}

// series are the labels of one line of the histogram.
type series struct {
	method, route string
	status        int
}

var durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Kinds of conflicts.
const (
	conflictPrecondition = "precondition" // somebody else was faster
	conflictOrder        = "order"        // the request contradicts itself
)

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{}
	var errs [3]error
	m.requests, errs[0] = meter.Float64Histogram("prefs_http_request_duration_seconds", metric.WithUnit("s"),
		metric.WithDescription("Time from the headers of a request to the end of its answer."),
		metric.WithExplicitBucketBoundaries(durations...))
	m.conflicts, errs[1] = meter.Int64Counter("prefs_conflicts_total",
		metric.WithDescription("Writes that were refused because of what others wrote, or contradicted themselves."))
	m.skips, errs[2] = meter.Int64Counter("prefs_tombstone_skips_total",
		metric.WithDescription("Deleted entities that were left out of saved lists."))
	return m, errors.Join(errs[:]...)
}

// prepare makes the series exist before anything happens, so that the first
// conflict is an increase.
func (m *metrics) prepare(ctx context.Context) {
	for _, kind := range []string{conflictPrecondition, conflictOrder} {
		m.conflicts.Add(ctx, 0, metric.WithAttributes(attribute.String("kind", kind)))
	}
	m.skips.Add(ctx, 0)
}

// record counts one answered request.
func (m *metrics) record(s middleware.Sample) {
	ctx := context.Background() // the sample has been taken, whatever became of its request
	m.requests.Record(ctx, s.Took.Seconds(), m.labels(s))
	switch s.Reason {
	case fault.ReasonPreconditionFailed:
		m.conflicts.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", conflictPrecondition)))
	case fault.ReasonOrderConflict:
		m.conflicts.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", conflictOrder)))
	default:
	}
	if s.Skipped > 0 {
		m.skips.Add(ctx, int64(s.Skipped))
	}
}

func (m *metrics) labels(s middleware.Sample) metric.MeasurementOption {
	k := series{knownMethod(s.Method), cmp.Or(s.Route, "none"), s.Status}
	if known, ok := m.series.Load(k); ok {
		if option, ok := known.(metric.MeasurementOption); ok {
			return option
		}
	}
	option := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", k.method), attribute.String("route", k.route), attribute.Int("status", k.status)))
	m.series.Store(k, option)
	return option
}

// knownMethod keeps the words of callers out of labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "other"
	}
}

// showPool shows how busy the connections to the database are.
func showPool(meter metric.Meter, stats func() sql.DBStats) error {
	_, err := meter.Int64ObservableGauge("prefs_database_connections",
		metric.WithDescription("Connections of the pool, by what they do; limit is how many there may be."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			s := stats()
			for state, n := range map[string]int{"in_use": s.InUse, "idle": s.Idle, "limit": s.MaxOpenConnections} {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("state", state)))
			}
			return nil
		}))
	return err
}

// showCache shows what the lists in memory are good for.
func showCache(meter metric.Meter, stats func() (bytes int, found map[string]int64)) error {
	_, used := meter.Int64ObservableGauge("prefs_list_cache_bytes", metric.WithUnit("By"),
		metric.WithDescription("Memory that lists take which were used last."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			bytes, _ := stats()
			o.Observe(int64(bytes))
			return nil
		}))
	_, asked := meter.Int64ObservableCounter("prefs_list_cache_total",
		metric.WithDescription("Lists that were looked for in memory: current is what PostgreSQL had, stale was replaced since, absent was read."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			_, found := stats()
			for result, n := range found {
				o.Observe(n, metric.WithAttributes(attribute.String("result", result)))
			}
			return nil
		}))
	return errors.Join(used, asked)
}

// lagWithin bounds what a replica that is away costs a scrape.
const lagWithin = time.Second

// showLag shows how far the read replica is behind. While it is away there is no
// value.
func showLag(meter metric.Meter, lag func(context.Context) (time.Duration, error)) error {
	_, err := meter.Float64ObservableGauge("prefs_replica_lag_seconds", metric.WithUnit("s"),
		metric.WithDescription("How far the read replica is behind; no value while it is away."),
		metric.WithFloat64Callback(func(ctx context.Context, o metric.Float64Observer) error {
			ctx, cancel := context.WithTimeout(ctx, lagWithin)
			defer cancel()
			if behind, err := lag(ctx); err == nil {
				o.Observe(behind.Seconds())
			}
			return nil
		}))
	return err
}

// showBreaker shows whether the owner of entities is left alone because it fails.
func showBreaker(meter metric.Meter, open func() bool) error {
	return telemetry.ShowFlag(meter, "prefs_directory_breaker_open", "1 while the owner of entities is not asked because it fails.", open)
}
