package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Status is what a relay knows about itself and the outbox.
type Status struct {
	Leader        bool
	Epoch         int64         // of its last term
	OldestAge     time.Duration // how long the oldest unpublished row has waited
	Quarantined   int64         // rows that wait for a decision
	Paused        bool          // by an operator
	BrokerAway    bool          // the leader gets no answer from the broker
	NeedsReanchor bool          // nothing is published until an operator anchors the cursor anew
	LastError     string        // the last failure, or empty
	LastErrorTime time.Time
}

// Status returns a snapshot.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	switch {
	case !s.Leader:
		s.OldestAge = r.vitals.Oldest
	case !r.oldest.IsZero():
		s.OldestAge = time.Since(r.oldest)
	}
	return s
}

// led says whether another relay leads, which then reports for all.
func (r *Relay) led() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.vitals.Led
}

// report shows what the leader is doing.
func (r *Relay) report(l *leader) {
	oldest := l.ledger.oldest()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Leader, r.status.Epoch = true, l.epoch
	r.status.Paused = l.wishes.Pause
	r.status.NeedsReanchor = r.status.NeedsReanchor && l.reads == 0
	r.status.BrokerAway = !l.downSince.IsZero()
	r.oldest = oldest
}

func (r *Relay) noteVitals(v Vitals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vitals = v
	r.status.Quarantined, r.status.Paused = v.Quarantined, v.Paused
}

func (r *Relay) noteFailure(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.LastError, r.status.LastErrorTime = err.Error(), time.Now()
}

// warnEvery keeps an outage from filling the log: every partition notices it,
// and again at every attempt.
const warnEvery = 10 * time.Second

// warnUnpublished says why nothing goes out, to one of the partitions at least.
func (r *Relay) warnUnpublished(ctx context.Context, err error) {
	if now := time.Now(); now.Sub(r.warned) >= warnEvery {
		r.warned = now
		r.log.WarnContext(ctx, "relay cannot publish and tries again", slog.Any("error", err))
	}
}

func (r *Relay) noteQuarantine(ctx context.Context, rows []Exile) {
	for i := range rows {
		if rows[i].Reason != ReasonBlocked {
			r.log.ErrorContext(ctx, "event is in quarantine", slog.Int64("outbox_id", rows[i].ID),
				slog.String("reason", string(rows[i].Reason)), slog.String("error", rows[i].Error))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Quarantined += int64(len(rows))
}

func (r *Relay) noteDecided(ctx context.Context, rows int) {
	if rows > 0 {
		r.log.InfoContext(ctx, "relay carried out decisions about events in quarantine", slog.Int("events", rows))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Quarantined = max(0, r.status.Quarantined-int64(rows))
}

// noteEnd shows and logs why there is no term, once for each reason.
func (r *Relay) noteEnd(ctx context.Context, led bool, err error, failures int) {
	reanchor := errors.Is(err, ErrReanchor)
	r.mu.Lock()
	first := failures == 1 || led && !reanchor || reanchor && !r.status.NeedsReanchor
	r.status.Leader, r.status.BrokerAway, r.status.NeedsReanchor = false, false, reanchor
	r.status.Paused = r.status.Paused || errors.Is(err, errPaused)
	r.oldest = time.Time{}
	r.mu.Unlock()
	switch {
	case errors.Is(err, ErrHeld):
		return
	case errors.Is(err, errPaused):
		r.log.InfoContext(ctx, "relay stops until it is resumed")
		return
	}
	r.noteFailure(err)
	if errors.Is(err, ErrFenced) || errors.Is(err, errLapsed) {
		r.metrics.fenced(ctx)
	}
	switch {
	case !first:
	case reanchor:
		r.log.ErrorContext(ctx, "relay stands still", slog.Any("error", err))
	case led:
		r.log.WarnContext(ctx, "relay steps down", slog.Any("error", err))
	default:
		r.log.WarnContext(ctx, "relay cannot reach the outbox", slog.Any("error", err))
	}
}
