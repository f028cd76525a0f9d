package api

import (
	"context"
	"log/slog"
	"time"
)

const (
	forgetEvery = time.Minute // replicas share the work
	forgetChunk = 1000
	forgetLists = 10 * time.Minute // after their last use
)

// memory is what is kept of earlier requests: their idempotency keys, and in
// this process the lists that they were about.
type memory interface {
	PruneKeys(ctx context.Context, limit int) (int, error)
	ForgetLists(unused time.Duration)
}

// forget deletes what is kept of requests that nobody will repeat any more,
// until ctx ends.
func (p *process) forget(ctx context.Context, kept memory) error {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		kept.ForgetLists(forgetLists)
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
