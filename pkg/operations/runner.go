// Package operations carries on what outlives the request or the event that
// began it. An operation is a durable row with a lease: whichever process holds
// the lease goes on from where the last one stopped, so that neither a crash nor
// a list that somebody else has locked leaves work undone.
package operations

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/retry"
)

// Store is the port to the operations that are kept.
type Store interface {
	// Claim takes an open clean that nobody holds, for as long as the lease
	// says; false means that there is none.
	Claim(ctx context.Context, owner string, lease time.Duration) (preferences.Clean, bool, error)
	// RetryLater gives a clean back after a failure, not to be claimed before
	// the delay is over. It keeps the clean's Attempts, or fewer where it knows of
	// progress that the owner has missed.
	RetryLater(ctx context.Context, c preferences.Clean, delay time.Duration, cause error) error
}

// Sweeper carries a clean to its end, or gives it up for good;
// *preferences.Service does.
type Sweeper interface {
	Sweep(ctx context.Context, c preferences.Clean, onTouched func([]events.TouchedList)) error
	GiveUp(ctx context.Context, c preferences.Clean, cause error) error
}

// Outcome says how one turn of an operation ended.
type Outcome string

// Outcomes of a turn.
const (
	Succeeded Outcome = "succeeded" // it is finished
	Retried   Outcome = "retried"   // it failed and is tried again later
	Released  Outcome = "released"  // this process stops; another one goes on
	TakenOver Outcome = "taken_over"
	Failed    Outcome = "failed" // it failed too often and was given up
)

// KindClean is the kind of operation that takes a deleted entity out of lists.
const KindClean = "cleanEntity"

// Options are what a Runner is made of. Store, Sweeper, Owner and Log are
// needed.
type Options struct {
	Store    Store
	Sweeper  Sweeper
	Owner    string // names this process in leases; no other one may have the same
	Log      *slog.Logger
	Observe  func(kind string, outcome Outcome) // called after each turn; default: nothing
	Parallel int                                // operations at once; default 4
	Lease    time.Duration                      // how long this process may be silent; default 15 s
	Poll     time.Duration                      // how often it looks without being poked; default 1 s
}

// Runner works on open operations, several at once. Every process may run one.
type Runner struct {
	Options
	poked chan struct{}
	away  bool // the store could not be asked the last time
}

// NewRunner returns a runner that begins when it runs.
func NewRunner(o Options) *Runner {
	const parallel, lease, poll = 4, 15 * time.Second, time.Second
	if o.Observe == nil {
		o.Observe = func(string, Outcome) {}
	}
	if o.Parallel == 0 {
		o.Parallel = parallel
	}
	if o.Lease == 0 {
		o.Lease = lease
	}
	if o.Poll == 0 {
		o.Poll = poll
	}
	return &Runner{Options: o, poked: make(chan struct{}, 1)}
}

// Poke makes the runner look for work at once. It never blocks.
func (r *Runner) Poke() {
	select {
	case r.poked <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run works until ctx ends. Then it stops between two chunks, gives back what
// it holds, and returns nil. A runner runs once.
func (r *Runner) Run(ctx context.Context) error {
	var turns sync.WaitGroup
	defer turns.Wait()
	slots := make(chan struct{}, r.Parallel)
	ticker := time.NewTicker(r.Poll)
	defer ticker.Stop()
	for {
		r.takeUp(ctx, slots, &turns)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-r.poked:
		}
	}
}

// takeUp begins turns until nothing is open or every slot is taken.
func (r *Runner) takeUp(ctx context.Context, slots chan struct{}, turns *sync.WaitGroup) {
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		default:
			return
		}
		c, found, err := r.Store.Claim(ctx, r.Owner, r.Lease)
		r.noteOutage(ctx, err)
		if !found {
			<-slots
			return
		}
		turns.Go(func() {
			outcome := r.turn(ctx, c)
			r.Observe(KindClean, outcome)
			<-slots
			r.Poke() // something may have waited for the slot
		})
	}
}

// noteOutage logs the beginning and the end of an outage, not every look.
func (r *Runner) noteOutage(ctx context.Context, err error) {
	away := err != nil && ctx.Err() == nil
	switch {
	case away && !r.away:
		r.Log.WarnContext(ctx, "operations cannot be claimed", slog.Any("error", err))
	case r.away && err == nil:
		r.Log.InfoContext(ctx, "operations can be claimed again")
	case err != nil:
		return
	}
	r.away = away
}

// turn carries one clean on, as far as it gets.
func (r *Runner) turn(ctx context.Context, c preferences.Clean) Outcome {
	progress := false
	err := r.Sweeper.Sweep(ctx, c, func(touched []events.TouchedList) {
		progress = progress || len(touched) > 0
	})
	if progress {
		c.Attempts = 1
	}
	switch {
	case err == nil:
		return Succeeded
	case fault.CodeOf(err) == fault.Aborted:
		return TakenOver // by a runner that thought we were gone: it goes on, and we have nothing to save
	case ctx.Err() != nil:
		c.Attempts-- // a process that stops is no failure of the clean
		r.giveBack(ctx, c, 0, errStopped)
		return Released
	}
	// A commit whose answer was lost may have been progress.
	if c.Attempts >= preferences.MaxAttempts && fault.ReasonOf(err) != fault.ReasonOutcomeUnknown {
		return r.giveUp(ctx, c, err)
	}
	delay := retry.Delay(c.Attempts, shortestDelay, longestDelay)
	r.Log.WarnContext(ctx, "operation failed and is tried again", slog.String("kind", KindClean), slog.String("operation", c.ID.String()),
		slog.String("cause", c.Cause), slog.Int("attempts", c.Attempts), slog.Duration("delay", delay), slog.Any("error", err))
	r.giveBack(ctx, c, delay, err)
	return Retried
}

var errStopped = errors.New("the process that ran it stopped")

// giveUp ends a clean that has failed too often. Where even that fails, the
// next one to claim it tries it once more.
func (r *Runner) giveUp(ctx context.Context, c preferences.Clean, cause error) Outcome {
	err := r.Sweeper.GiveUp(ctx, c, cause)
	if fault.CodeOf(err) == fault.Aborted {
		return TakenOver
	}
	log := r.Log.With(slog.String("kind", KindClean), slog.String("operation", c.ID.String()), slog.String("cause", c.Cause), slog.Int("attempts", c.Attempts))
	if err != nil {
		log.WarnContext(ctx, "operation cannot even be given up", slog.Any("error", err))
		r.giveBack(ctx, c, retry.Delay(c.Attempts, shortestDelay, longestDelay), cause)
		return Retried
	}
	log.ErrorContext(ctx, "operation failed for good", slog.Any("error", cause))
	return Failed
}

// giveBackWithin bounds the last word on an operation while the process stops.
const giveBackWithin = 3 * time.Second

// Delays before a clean that failed is tried again.
const (
	shortestDelay = time.Second
	longestDelay  = time.Minute
)

// giveBack lets go of a clean. Where that fails, its lease runs out instead.
func (r *Runner) giveBack(ctx context.Context, c preferences.Clean, delay time.Duration, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackWithin)
	defer cancel()
	if err := r.Store.RetryLater(ctx, c, delay, cause); err != nil {
		r.Log.WarnContext(ctx, "operation keeps its lease until it runs out", slog.String("operation", c.ID.String()), slog.Any("error", err))
	}
}
