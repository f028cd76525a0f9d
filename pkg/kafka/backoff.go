package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is exponential with jitter between low and high.
type backoff struct{ low, high time.Duration }

// ceiling is the longest wait before the given retry, which counts from 0.
func (b backoff) ceiling(retry int) time.Duration {
	d := b.low
	for range retry {
		if d >= b.high/2 {
			return b.high
		}
		d *= 2
	}
	return d
}

// delay draws the wait from all of [low, ceiling], so that clients that failed
// together do not come back together.
func (b backoff) delay(retry int) time.Duration {
	spread := b.ceiling(retry) - b.low
	return b.low + rand.N(spread+1)
}

// wait sleeps before the given retry. It reports false when ctx ended first.
func (b backoff) wait(ctx context.Context, retry int) bool {
	return sleep(ctx, b.delay(retry))
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
