package dev

import (
	"context"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/telemetry"
)

const (
	readyWithin = 60 * time.Second
	readyEvery  = 20 * time.Millisecond
)

// awaitParts blocks until every part says that it is ready.
func (e *environment) awaitParts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, place := range []int{placeAccounts, placeAdmin, placeConsumerAdmin, placeWeb} {
		if err := e.await(ctx, e.sockets[place].Addr().String()); err != nil {
			return err
		}
	}
	return nil
}

func (e *environment) await(ctx context.Context, addr string) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		err := telemetry.Probe(ctx, addr)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-e.parts.failed:
			return e.parts.err()
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: %w", readyWithin, err)
		}
	}
}
