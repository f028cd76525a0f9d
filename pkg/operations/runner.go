// Package operations carries on what outlives the request or the event that
// began it. An operation is a durable row with a lease: whichever process holds
// the lease goes on from where the last one stopped, so that neither a crash nor
// a list that somebody else has locked leaves work undone.
package operations

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/retry"
)

// Store is the port to the operations that are kept.
type Store interface {
	// Claim takes an open operation of one of the kinds that nobody holds, for as
	// long as the lease says; false means that there is none.
	Claim(ctx context.Context, owner string, lease time.Duration, kinds ...preferences.OperationKind) (preferences.Held, bool, error)
	// Renew prolongs a lease. Aborted means that somebody else holds the operation.
	Renew(ctx context.Context, h preferences.Held) error
	// RetryLater gives an operation back after a failure, not to be claimed before
	// the delay is over. It keeps its Attempts, or fewer where it knows of progress
	// that the owner has missed.
	RetryLater(ctx context.Context, h preferences.Held, delay time.Duration, cause error) error
}

// Work is what operations of a kind do. *preferences.Service does that of cleans.
type Work interface {
	// Run carries an operation to its end. It commits as it goes, says so by
	// calling progressed, and returns when ctx ends; whoever claims the operation
	// next goes on. Aborted means that somebody else holds it.
	Run(ctx context.Context, h preferences.Held, progressed func()) error
	// GiveUp ends for good what fails again and again; ended is false if the
	// operation has more to do than that.
	GiveUp(ctx context.Context, h preferences.Held, cause error) (ended bool, err error)
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

// Options are what a Runner is made of. Store, Works, Owner and Log are needed.
type Options struct {
	Store    Store
	Works    map[preferences.OperationKind]Work // kinds that are not there are left to other processes
	Owner    string                             // names this process in leases; no other one may have the same
	Log      *slog.Logger
	Observe  func(kind preferences.OperationKind, outcome Outcome) // called after each turn; default: nothing
	Parallel int                                                   // operations at once; default 4
	Lease    time.Duration                                         // how long this process may be silent; default 15 s
	Poll     time.Duration                                         // how often it looks without being poked; default 1 s
}

// Runner works on open operations, several at once. Every process may run one.
type Runner struct {
	Options
	kinds []preferences.OperationKind
	poked chan struct{}
	away  bool // the store could not be asked the last time
}

// NewRunner returns a runner that begins when it runs.
func NewRunner(o Options) *Runner {
	const parallel, lease, poll = 4, 15 * time.Second, time.Second
	if o.Observe == nil {
		o.Observe = func(preferences.OperationKind, Outcome) {}
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
	return &Runner{Options: o, kinds: slices.Sorted(maps.Keys(o.Works)), poked: make(chan struct{}, 1)}
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
		h, found, err := r.Store.Claim(ctx, r.Owner, r.Lease, r.kinds...)
		r.noteOutage(ctx, err)
		if !found {
			<-slots
			return
		}
		crashpoint.Hit("operation.claimed")
		turns.Go(func() {
			outcome := r.turn(ctx, h)
			r.Observe(h.Kind, outcome)
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

// turn carries one operation on, as far as it gets.
func (r *Runner) turn(ctx context.Context, h preferences.Held) Outcome {
	progress := false
	err := r.leased(ctx, h, func() { progress = true })
	if progress {
		h.Attempts = 1
	}
	switch {
	case err == nil:
		return Succeeded
	case fault.CodeOf(err) == fault.Aborted:
		return TakenOver // by a runner that thought we were gone: it goes on, and we have nothing to save
	case ctx.Err() != nil:
		h.Attempts-- // a process that stops is no failure of the operation
		r.giveBack(ctx, h, 0, errStopped)
		return Released
	}
	// A commit whose answer was lost may have been progress.
	if h.Attempts >= preferences.MaxAttempts && fault.ReasonOf(err) != fault.ReasonOutcomeUnknown {
		return r.giveUp(ctx, h, err)
	}
	delay := retry.Delay(h.Attempts, shortestDelay, longestDelay)
	r.logOf(h).WarnContext(ctx, "operation failed and is tried again", slog.Duration("delay", delay), slog.Any("error", err))
	r.giveBack(ctx, h, delay, err)
	return Retried
}

func (r *Runner) logOf(h preferences.Held) *slog.Logger {
	return r.Log.With(slog.String("kind", string(h.Kind)), slog.String("operation", h.ID.String()),
		slog.String("cause", h.Cause), slog.Int("attempts", h.Attempts))
}

// beats is how often a lease is renewed while it lasts.
const beats = 3

// leased runs the work of an operation and renews its lease meanwhile, so that
// only an owner who is gone loses it. One that has lost it stops.
func (r *Runner) leased(ctx context.Context, h preferences.Held, progressed func()) error {
	ctx, lose := context.WithCancelCause(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { r.beat(ctx, h, lose) })
	err := r.Works[h.Kind].Run(ctx, h, progressed)
	lost := context.Cause(ctx)
	lose(nil)
	beating.Wait()
	if err != nil && fault.CodeOf(lost) == fault.Aborted {
		return lost
	}
	return err
}

// beat renews a lease until ctx ends. A renewal that fails for another reason
// than that the lease is lost is tried again with the next beat.
func (r *Runner) beat(ctx context.Context, h preferences.Held, lose context.CancelCauseFunc) {
	ticker := time.NewTicker(max(h.Lease/beats, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := r.Store.Renew(ctx, h); fault.CodeOf(err) == fault.Aborted {
			lose(err)
			return
		}
	}
}

var errStopped = errors.New("the process that ran it stopped")

// giveUp ends what has failed too often. Where even that fails, the next one to
// claim it tries it once more.
func (r *Runner) giveUp(ctx context.Context, h preferences.Held, cause error) Outcome {
	ended, err := r.Works[h.Kind].GiveUp(ctx, h, cause)
	if fault.CodeOf(err) == fault.Aborted {
		return TakenOver
	}
	log := r.logOf(h)
	switch {
	case err != nil:
		log.WarnContext(ctx, "operation cannot even be given up", slog.Any("error", err))
		r.giveBack(ctx, h, retry.Delay(h.Attempts, shortestDelay, longestDelay), cause)
		return Retried
	case !ended:
		log.ErrorContext(ctx, "operation goes on without a part that failed for good", slog.Any("error", cause))
		h.Attempts = 0
		r.giveBack(ctx, h, 0, cause)
		return Retried
	}
	log.ErrorContext(ctx, "operation failed for good", slog.Any("error", cause))
	return Failed
}

// giveBackWithin bounds the last word on an operation while the process stops.
const giveBackWithin = 3 * time.Second

// Delays before an operation that failed is tried again.
const (
	shortestDelay = time.Second
	longestDelay  = time.Minute
)

// giveBack lets go of an operation. Where that fails, its lease runs out instead.
func (r *Runner) giveBack(ctx context.Context, h preferences.Held, delay time.Duration, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackWithin)
	defer cancel()
	if err := r.Store.RetryLater(ctx, h, delay, cause); err != nil {
		r.Log.WarnContext(ctx, "operation keeps its lease until it runs out", slog.String("operation", h.ID.String()), slog.Any("error", err))
	}
}
