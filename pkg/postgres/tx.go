package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Update implements preferences.Store.
func (s *Store) Update(ctx context.Context, fn func(context.Context, preferences.Tx) error) error {
	var emitted bool
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		t := &tx{store: s, conn: c}
		if err := send(ctx, c, run("begin")); err != nil {
			return err
		}
		if err := fn(ctx, t); err != nil {
			return err
		}
		emitted = t.emitted
		crashpoint.Hit("update.committing")
		return send(ctx, c, run(commit))
	})
	crashpoint.Hit("update.committed")
	if err == nil && emitted {
		s.committed()
	}
	return err
}

// tx implements preferences.Tx on a connection that is in a transaction.
type tx struct {
	store   *Store
	conn    *pgx.Conn
	emitted bool
}

// Seen implements preferences.Tx.
func (t *tx) Seen(ctx context.Context, d preferences.Delivery, outcome preferences.Outcome) (bool, error) {
	var fresh bool
	err := send(ctx, t.conn, run("seen", d.Consumer, d.Topic, d.EventID, d.Partition, d.Offset, string(outcome)).first(&fresh))
	return fresh, err
}

// Emit implements preferences.Tx.
func (t *tx) Emit(ctx context.Context, m events.Message) error {
	st, err := emit(m)
	if err != nil {
		return err
	}
	t.emitted = true
	return send(ctx, t.conn, st)
}

// StateTimes implements preferences.Tx.
func (t *tx) StateTimes(ctx context.Context, entities []preferences.Entity) ([]time.Time, error) {
	types, ids := entityTexts(entities)
	var times []time.Time
	err := send(ctx, t.conn, all(run("statetimes", types, ids), &times, pgx.RowTo[time.Time]))
	for i := range times {
		times[i] = times[i].UTC()
	}
	return times, err
}
