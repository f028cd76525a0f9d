package consumer

import (
	"context"
	"log/slog"
	"time"
)

const (
	forgetEvery = time.Minute // replicas share the work
	forgetChunk = 1000
)

// past are the operations that have ended.
type past interface {
	PruneOperations(ctx context.Context, limit int) (int, error)
}

// forget deletes operations that ended long ago, until ctx ends.
func forget(ctx context.Context, kept past, log *slog.Logger) error {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for {
		pruned, err := kept.PruneOperations(ctx, forgetChunk)
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "operations could not be pruned", slog.Any("error", err))
		}
		if pruned == forgetChunk && err == nil {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
