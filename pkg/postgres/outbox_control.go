package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

//go:embed outbox_control.sql
var controlSQL string

var controlStatements = parseStatements(controlSQL)

const (
	lookEvery  = 20 * time.Millisecond // at something that another process is about to do
	stopWithin = 10 * time.Second      // what a leader has to step down before it is fenced off
)

// ErrNoRelay says that no relay of that name has run.
var ErrNoRelay = errors.New("no relay of that name has run")

// OutboxControl is what operators do to the outbox and to the relay that works
// it off. It needs no service to run: the relay carries out what it finds.
type OutboxControl struct {
	relay string
	link  *link
	more  *link // beside it, while a long result is read
}

// NewOutboxControl returns the control of the named relay. It does not connect
// yet.
func NewOutboxControl(url, relay string) (*OutboxControl, error) {
	settings := map[string]string{"lock_timeout": "3s", "timezone": "UTC"}
	l, err := newLink(url, "prefsd outbox control", settings)
	if err != nil {
		return nil, err
	}
	more, err := newLink(url, "prefsd outbox control", settings)
	if err != nil {
		return nil, err
	}
	return &OutboxControl{relay: relay, link: l, more: more}, nil
}

// Close closes the connections.
func (c *OutboxControl) Close() {
	c.link.drop(context.Background())
	c.more.drop(context.Background())
}

// exec runs a statement and returns how many rows it changed.
func (c *OutboxControl) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	var changed int64
	err := c.link.use(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, controlStatements[statement], args...)
		changed = tag.RowsAffected()
		return err
	})
	return changed, err
}

// row runs a statement that returns one row.
func (c *OutboxControl) row(ctx context.Context, statement string, args []any, into ...any) error {
	return c.link.use(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, controlStatements[statement], args...).Scan(into...)
	})
}

// Pause stops publishing. When it returns without an error nothing is published
// any more: the leader has finished what was on its way, noted that, and given
// the lease back; or its lease has run out; or it was fenced off, if it went on
// in spite of all, and its lease has run out since.
func (c *OutboxControl) Pause(ctx context.Context) error {
	if _, err := c.exec(ctx, "pause", c.relay); err != nil {
		return fmt.Errorf("pause the outbox: %w", err)
	}
	stopped, err := c.awaitStop(ctx, stopWithin)
	if err != nil || stopped {
		return err
	}
	if _, err := c.exec(ctx, "fence", c.relay); err != nil {
		return fmt.Errorf("fence the relay off: %w", err)
	}
	if stopped, err = c.awaitStop(ctx, stopWithin); err == nil && !stopped {
		err = errors.New("the outbox is paused, but the relay's lease has not run out yet")
	}
	return err
}

// awaitStop waits until nobody holds the lease.
func (c *OutboxControl) awaitStop(ctx context.Context, within time.Duration) (bool, error) {
	var held bool
	var rest float64
	err := watch(ctx, within, func() (bool, error) {
		err := c.row(ctx, "holder", []any{c.relay}, &held, &rest)
		return !held, err
	})
	if err != nil {
		return false, fmt.Errorf("wait until the relay stops: %w", err)
	}
	return !held, nil
}

// watch looks again and again until done, or until the time is up.
func watch(ctx context.Context, within time.Duration, done func() (bool, error)) error {
	enough := time.NewTimer(within)
	defer enough.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if is, err := done(); err != nil || is {
			return err
		}
		select {
		case <-tick.C:
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Resume lets a relay publish again, and says whether it was paused.
func (c *OutboxControl) Resume(ctx context.Context) (bool, error) {
	changed, err := c.exec(ctx, "resume", c.relay)
	if err != nil {
		return false, fmt.Errorf("resume the outbox: %w", err)
	}
	return changed > 0, nil
}

// Anchoring is what anchoring a cursor anew does, or would do.
type Anchoring struct {
	Needed bool  // the cursor means nothing on this cluster
	Again  int64 // events that are published, some of them perhaps again
	Kept   int64 // events that count as published
}

// Reanchor makes a new cursor out of the stored one, which belongs to another
// history of the database. What that one has certainly behind it stays
// published; everything else that the outbox holds is published, some of it
// perhaps again: nothing is skipped. With everything, the stored cursor does not
// count. Without force it changes nothing unless that is needed.
func (c *OutboxControl) Reanchor(ctx context.Context, everything, force bool) (Anchoring, error) {
	var a Anchoring
	err := c.anchor(ctx, &a, everything, func(tx pgx.Tx) error {
		if !a.Needed && !force {
			return nil
		}
		for _, statement := range []string{"reanchor", "rebase"} {
			args := []any{c.relay, !everything}
			if statement == "rebase" {
				args = args[:1]
			}
			if _, err := tx.Exec(ctx, controlStatements[statement], args...); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, outboxStatements["notify"], outboxChannel)
		return err
	})
	return a, err
}

// Anchor says what Reanchor would do.
func (c *OutboxControl) Anchor(ctx context.Context, everything bool) (Anchoring, error) {
	var a Anchoring
	return a, c.anchor(ctx, &a, everything, func(pgx.Tx) error { return nil })
}

// anchor looks at the cursor and lets fn change it in the same transaction.
func (c *OutboxControl) anchor(ctx context.Context, a *Anchoring, everything bool, fn func(pgx.Tx) error) error {
	err := c.link.use(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			err := tx.QueryRow(ctx, controlStatements["anchor"], c.relay).Scan(&a.Needed)
			if errors.Is(err, pgx.ErrNoRows) {
				return ErrNoRelay
			}
			if err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, controlStatements["behind"], c.relay, !everything).Scan(&a.Again, &a.Kept); err != nil {
				return err
			}
			return fn(tx)
		})
	})
	if err != nil {
		return fmt.Errorf("anchor the cursor: %w", err)
	}
	return nil
}

// Decision is what an operator wants with a row in quarantine.
type Decision string

// Decisions about rows in quarantine.
const (
	Release Decision = "release" // publish it, in the order of its key
	Drop    Decision = "drop"    // never publish it
)

// QuarantinedEvent is a row in quarantine.
type QuarantinedEvent struct {
	EventID       uuid.UUID
	ID            int64
	Topic         string
	Key           string
	Type          string
	Reason        string
	Error         string
	Attempts      int
	BlockedBy     *uuid.UUID
	Bytes         *int // of its value, nil for a null value
	CreatedAt     time.Time
	QuarantinedAt time.Time
	Decision      Decision // empty while it waits for one
	ResolvedAt    *time.Time
}

// Quarantined lists rows in quarantine, oldest first; with settled, also those
// that were decided on and dealt with.
func (c *OutboxControl) Quarantined(ctx context.Context, settled bool, limit int) ([]QuarantinedEvent, error) {
	var events []QuarantinedEvent
	err := c.link.use(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, controlStatements["quarantined"], settled, limit)
		if err != nil {
			return err
		}
		events, err = pgx.CollectRows(rows, pgx.RowToStructByPos[QuarantinedEvent])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	return events, nil
}

// Undecided returns the events that were put into quarantine on their own
// account and wait for a decision.
func (c *OutboxControl) Undecided(ctx context.Context) ([]uuid.UUID, error) {
	return c.events(ctx, "undecided")
}

// Judge records a decision about events, and returns those that were in
// quarantine. The leader carries it out. Events that are there only because they
// follow a decided one are released behind it.
func (c *OutboxControl) Judge(ctx context.Context, events []uuid.UUID, d Decision) ([]uuid.UUID, error) {
	return c.events(ctx, "judge", events, d)
}

func (c *OutboxControl) events(ctx context.Context, statement string, args ...any) ([]uuid.UUID, error) {
	var events []uuid.UUID
	err := c.link.use(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, controlStatements[statement], args...)
		if err != nil {
			return err
		}
		events, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decide on the quarantine: %w", err)
	}
	return events, nil
}

// AwaitJudged waits until decisions about events were carried out, or until the
// time is up, and returns how many were not.
func (c *OutboxControl) AwaitJudged(ctx context.Context, events []uuid.UUID, within time.Duration) (int, error) {
	left := 0
	err := watch(ctx, within, func() (bool, error) {
		err := c.row(ctx, "unsettled", []any{events}, &left)
		return left == 0, err
	})
	if err != nil {
		return left, fmt.Errorf("wait for the relay: %w", err)
	}
	return left, nil
}
