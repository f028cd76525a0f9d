package api

import (
	"context"
	"log/slog"
	"time"
)

const (
	forgetEvery = time.Minute // replicas share the work
	forgetChunk = 1000
)

// keys are the idempotency keys of earlier requests.
type keys interface {
	PruneKeys(ctx context.Context, limit int) (int, error)
}

// forget deletes what is kept of requests that nobody will repeat any more,
// until ctx ends.
func (p *process) forget(ctx context.Context, kept keys) error {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		pruned, err := kept.PruneKeys(ctx, forgetChunk)
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "idempotency keys could not be pruned", slog.Any("error", err))
		}
		if pruned == forgetChunk {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
