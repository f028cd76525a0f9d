package verify

import (
	"context"
	"fmt"

	"github.com/prefsd/prefsd/pkg/events"
)

// Contract checks that every event in the outbox is what its schema says.
func Contract(ctx context.Context, src Source) (Report, error) {
	var r Report
	for row, err := range src.Outbox(ctx) {
		if err != nil {
			return r, fmt.Errorf("verify outbox: %w", err)
		}
		r.Events++
		if err := events.Validate(row.Type, events.SchemaVersion, row.Payload); err != nil {
			r.add("contract", "event "+row.EventID.String(), "is not as its schema says: %v", err)
		}
	}
	return r, nil
}
