// Package retry says how long to wait before what failed is tried again, and
// waits.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Delay is how long to wait after so many failures in a row: least after the
// first, doubling, most at the most. Half of it is chance, so that those who
// failed together do not come back together.
func Delay(failures int, least, most time.Duration) time.Duration {
	full := least
	for range failures - 1 {
		if full >= most/2 {
			full = most
			break
		}
		full *= 2
	}
	return full/2 + rand.N(full/2+1)
}

// Wait waits that long, or returns the context's error when that ends first.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
