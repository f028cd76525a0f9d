package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Update implements preferences.Store.
func (s *Store) Update(ctx context.Context, fn func(context.Context, preferences.Tx) error) error {
	var emitted bool
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		t := &tx{store: s, conn: c}
		t.later(run("begin"))
		if err := fn(ctx, t); err != nil {
			return err
		}
		if t.late { // the time for the work is over, and what came of it is kept all the same
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), limit)
			defer cancel()
		}
		emitted = t.emitted
		crashpoint.Hit("update.committing")
		return t.send(ctx, append(t.last, run(commit))...)
	})
	crashpoint.Hit("update.committed")
	if err == nil && emitted {
		s.committed()
	}
	return err
}

// tx implements preferences.Tx on a connection. What it is told to write and has
// nothing to say about travels with its next statement, or with the commit: most
// of what a small transaction costs are its round trips.
type tx struct {
	store   *Store
	conn    *pgx.Conn
	queued  []step
	last    []step // what others would wait for while the transaction goes on: it is written with the commit
	emitted bool
	late    bool // it may have taken longer than other work does
}

// later queues statements for the next send.
func (t *tx) later(steps ...step) { t.queued = append(t.queued, steps...) }

// send runs the steps, behind those that are queued, in one round trip.
func (t *tx) send(ctx context.Context, steps ...step) error {
	steps = append(t.queued, steps...)
	t.queued = nil
	return owned(send(ctx, t.conn, steps...))
}

// Seen implements preferences.Tx.
func (t *tx) Seen(ctx context.Context, d preferences.Delivery, outcome preferences.Outcome) (bool, error) {
	var fresh bool
	seen := run("seen", d.Consumer, d.Topic, d.EventID, d.Partition, d.Offset, string(outcome)).first(&fresh)
	if mutant.Is("redrive-as-duplicate") {
		seen = seen.edited("i.outcome in ('dead_lettered', 'discarded')", "false")
	}
	steps := []step{seen}
	if mutant.Is("inbox-apart-from-effect") {
		steps = append(steps, run(commit), run("begin"))
	}
	err := t.send(ctx, steps...)
	return fresh, err
}

// Emit implements preferences.Tx.
func (t *tx) Emit(_ context.Context, m events.Message) error {
	st, err := emit(m)
	if err != nil {
		return err
	}
	t.emitted = true
	t.later(st)
	return nil
}

// StateTimes implements preferences.Tx.
func (t *tx) StateTimes(ctx context.Context, entities []preferences.Entity) ([]time.Time, error) {
	types, ids := entityTexts(entities)
	var times []time.Time
	err := t.send(ctx, all(run("statetimes", types, ids), &times, pgx.RowTo[time.Time]))
	for i := range times {
		times[i] = times[i].UTC()
	}
	return times, err
}
