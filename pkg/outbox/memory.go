package outbox

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
)

// Memory is what a relay knows to have been committed while it led.
type Memory struct {
	Epoch  int64
	Cursor Cursor      // as it was stored last
	Events []uuid.UUID // published behind it
}

// Recalled is what the database has of a Memory.
type Recalled struct {
	Epoch int64
	MaxID int64
	Gone  int // events that it has no row of
}

// loses says whether something that was committed is not there any more.
func (m Memory) loses(now Recalled) bool {
	return now.Epoch < m.Epoch || now.MaxID < m.Cursor.MaxID || now.Gone > 0
}

// remember keeps what the term has seen committed, for the next look at the
// database: that may be another server by then.
func (l *leader) remember(fenced bool) {
	still := l.ledger.surplus()
	for at, event := range l.known {
		still = append(still, sent{at, event})
	}
	if !fenced {
		l.r.unsaved = unsaved{l.epoch, still}
	}
	events := make([]uuid.UUID, len(still))
	for i, row := range still {
		events[i] = row.event
	}
	l.r.memory = &Memory{l.epoch, l.ledger.stored, events}
}

// recall compares what was committed while this relay led with what the database
// holds, once after each term. A standby that takes over before it has received
// everything has lost the rest, and subscribers have been told of it.
func (r *Relay) recall(ctx context.Context) error {
	if r.memory == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease)
	defer cancel()
	m := *r.memory
	m.Events = unpruned(m.Events, time.Now().Add(-r.cfg.Retention/2))
	now, err := r.source.Recall(ctx, m)
	if err != nil {
		return err
	}
	r.memory = nil
	if m.loses(now) {
		r.unsaved = unsaved{} // it is about rows that may be gone
		r.metrics.lost(ctx)
		r.log.ErrorContext(ctx, "the database has lost commits: prefsctl verify names the events whose changes are gone",
			slog.Int64("epoch", m.Epoch), slog.Int64("epoch_found", now.Epoch), slog.Int64("outbox_id", m.Cursor.MaxID),
			slog.Int64("outbox_id_found", now.MaxID), slog.Int("events_without_row", now.Gone))
	}
	return nil
}

// unpruned returns the events that are younger than this, by their ids: older
// rows may be missing because of their age.
func unpruned(events []uuid.UUID, since time.Time) []uuid.UUID {
	var young []uuid.UUID
	for _, event := range events {
		const versionWithTime = 7
		if event.Version() == versionWithTime && time.Unix(event.Time().UnixTime()).After(since) {
			young = append(young, event)
		}
	}
	return young
}
