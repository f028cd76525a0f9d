package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// ShowFlag makes a gauge that is 1 while something holds, and else 0.
func ShowFlag(meter metric.Meter, name, description string, holds func() bool) error {
	_, err := meter.Int64ObservableGauge(name, metric.WithDescription(description),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			var value int64
			if holds() {
				value = 1
			}
			o.Observe(value)
			return nil
		}))
	return err
}
