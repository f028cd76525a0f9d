package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	pruneChunk  = 2000
	prunePause  = 50 * time.Millisecond
	reanchorGap = 5 * time.Second // between looks at a cursor that an operator has to mend
	yieldFor    = 2 * time.Second // what another relay has to take a lease that was given back
)

// Relay publishes the rows of an outbox: each at least once, those of one
// subject in their order. Many relays may run; a lease picks the one that
// works. It reads what became visible between two snapshots of the database, so
// that neither the order of commits nor a long transaction makes it skip,
// repeat or swap anything.
type Relay struct {
	source    Source
	publisher Publisher
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	poke      chan struct{}

	unsaved unsaved   // of the goroutine that leads
	memory  *Memory   // likewise; nil once it was compared
	warned  time.Time // likewise

	mu     sync.Mutex
	status Status
	oldest time.Time // when the oldest unpublished row was written, or zero
	vitals Vitals
}

// unsaved are the rows that a term published and could not note. A term that
// follows it directly need not publish them again.
type unsaved struct {
	epoch int64
	rows  []sent
}

// New returns a relay. It does nothing until it runs.
func New(source Source, publisher Publisher, cfg Config, log *slog.Logger) (*Relay, error) {
	r := &Relay{
		source: source, publisher: publisher, cfg: cfg.withDefaults(), log: log,
		poke: make(chan struct{}, 1),
	}
	if cfg.Tracer != nil {
		r.publisher = traced{publisher, cfg.Tracer}
	}
	var err error
	r.metrics, err = newMetrics(r.cfg.Meter, r)
	return r, err
}

// Poke says that there is something new in the outbox. It never waits.
func (r *Relay) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// Run relays until ctx ends. No outage ends it: it waits for the database and
// the broker to return. When it is told to stop it finishes what is on its way,
// stores its cursor and gives the lease back.
func (r *Relay) Run(ctx context.Context) error {
	defer r.metrics.close()
	var wg sync.WaitGroup
	wg.Go(func() { r.tend(ctx) })
	defer wg.Wait()
	failures := 0
	for ctx.Err() == nil {
		led, err := r.term(ctx)
		if led {
			failures = 0
		}
		wait := r.cfg.Poll
		switch {
		case errors.Is(err, errReleased), ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrHeld), errors.Is(err, errPaused):
			failures = 0
		case errors.Is(err, errYielded):
			wait = yieldFor
		case errors.Is(err, ErrReanchor):
			wait = reanchorGap
		default:
			failures++
			wait = backoff(failures)
		}
		r.noteEnd(ctx, led, err, failures)
		pause(ctx, wait)
	}
	return nil
}

// term claims the lease and leads until the term ends. It says whether it led.
func (r *Relay) term(ctx context.Context) (bool, error) {
	if err := r.recall(ctx); err != nil {
		return false, err
	}
	l, err := r.claim(ctx)
	if err != nil {
		return false, err
	}
	r.log.InfoContext(ctx, "relay leads", slog.Int64("epoch", l.epoch))
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(listening) })
	err = l.lead(ctx)
	stop()
	l.end(ctx, err)
	wg.Wait()
	return true, err
}

// listen keeps this relay awake to what other processes write. A listener that
// fails costs no more than the time of a poll.
func (r *Relay) listen(ctx context.Context) {
	for failures := 1; ; failures++ {
		err := r.source.Listen(ctx, func() { failures = 0; r.Poke() })
		if ctx.Err() != nil {
			return
		}
		if failures <= 1 {
			r.log.WarnContext(ctx, "relay cannot listen and polls instead", slog.Any("error", err))
		}
		if !pause(ctx, backoff(max(failures, 1))) {
			return
		}
	}
}

// tend watches over the outbox: its health, which any relay reports while none
// leads, and its size, which the leader keeps down.
func (r *Relay) tend(ctx context.Context) {
	for {
		vitals, err := r.source.Vitals(ctx)
		if err == nil {
			r.noteVitals(vitals)
		}
		for err == nil && r.Status().Leader {
			var pruned int
			if pruned, err = r.source.Prune(ctx, r.cfg.Retention, pruneChunk); err == nil {
				r.metrics.pruned(ctx, pruned)
			}
			if err != nil || pruned < pruneChunk || !pause(ctx, prunePause) {
				break
			}
		}
		if err != nil && ctx.Err() == nil {
			r.noteFailure(err)
		}
		if !pause(ctx, r.cfg.TendEvery) {
			return
		}
	}
}
