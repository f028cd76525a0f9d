// Package retry repeats what may work the next time, and waits in between so that
// those who failed together do not come back together.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy bounds the waits. They are drawn between nothing and a limit (full
// jitter) that starts at Min and doubles with every failure up to Max.
type Policy struct {
	Min time.Duration
	Max time.Duration
	// Attempts is how often to try at most; 0 means until the context ends.
	Attempts uint
}

// Default waits 100 ms at first and 30 s at most, for ever.
func Default() Policy { return Policy{Min: 100 * time.Millisecond, Max: 30 * time.Second} }

// Waits returns the waits of one series of failures, for loops of their own.
func (p Policy) Waits() *Waits {
	// The library draws from the middle of an interval plus or minus a share of
	// it: half the limit, plus or minus all of that.
	w := &Waits{backoff.ExponentialBackOff{
		InitialInterval: max(p.Min/2, 1), RandomizationFactor: 1, Multiplier: 2, MaxInterval: max(p.Max/2, 1),
	}}
	w.Reset()
	return w
}

// Waits says how long to wait after each failure. It is not safe for concurrent
// use.
type Waits struct{ backoff backoff.ExponentialBackOff }

// Next returns how long to wait after one more failure.
func (w *Waits) Next() time.Duration { return w.backoff.NextBackOff() }

// Reset forgets the failures, after a success.
func (w *Waits) Reset() { w.backoff.Reset() }

// Permanent marks an error that another attempt would meet again.
func Permanent(err error) error { return backoff.Permanent(err) }

// Do calls fn until it succeeds, fails for good, has no attempt left, or the
// context ends; then the error has both that and the last failure.
func Do(ctx context.Context, p Policy, fn func(ctx context.Context) error) error {
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = fn(ctx)
		return struct{}{}, last
	},
		backoff.WithBackOff(&p.Waits().backoff),
		backoff.WithMaxTries(p.Attempts),
		backoff.WithMaxElapsedTime(0),
	)
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		return permanent.Unwrap()
	}
	if err != nil && !errors.Is(last, err) {
		return fmt.Errorf("%w: %w", err, last)
	}
	return err
}
