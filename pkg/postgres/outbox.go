package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// outboxChannel is where writers say that there is something new in the outbox.
const outboxChannel = "prefs_outbox"

const (
	connectWithin = 5 * time.Second
	claimWithin   = 3 * time.Second
	tendWithin    = 30 * time.Second // one look at health, one chunk of pruning
	closeWithin   = time.Second

	settledRetention = 30 * 24 * time.Hour // of rows in quarantine that were decided on
)

//go:embed outbox.sql
var outboxSQL string

var outboxStatements = parseStatements(outboxSQL)

// relaySettings hold the relay's plans to the index scans that its statements
// are written for: the planner knows little about a table that is empty at one
// moment and full at the next.
var relaySettings = map[string]string{
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"jit":               "off",
	"plan_cache_mode":   "force_generic_plan",
	"work_mem":          "16MB",
	"lock_timeout":      "3s",
	"timezone":          "UTC",
}

// OutboxSource is the outbox table for one relay. It has connections of its
// own: one for the lease and the rows, one beside it for what may take long,
// and one that listens. They are opened when they are needed.
type OutboxSource struct {
	relay string
	main  *link
	side  *link
	ears  *link
}

var _ outbox.Source = (*OutboxSource)(nil)

// NewOutboxSource returns the source of the named relay. The URL must lead to
// PostgreSQL directly or through a pooler that pools sessions. It does not
// connect yet.
func NewOutboxSource(url, relay string) (*OutboxSource, error) {
	settings := func(more map[string]string) map[string]string {
		all := maps.Clone(relaySettings)
		maps.Copy(all, more)
		return all
	}
	main, err := newLink(url, "prefsd relay", settings(map[string]string{"statement_timeout": "5s"}))
	if err != nil {
		return nil, err
	}
	side, err := newLink(url, "prefsd relay side", settings(map[string]string{"statement_timeout": "5min"}))
	if err != nil {
		return nil, err
	}
	ears, err := newLink(url, "prefsd relay listener", nil)
	if err != nil {
		return nil, err
	}
	return &OutboxSource{relay: relay, main: main, side: side, ears: ears}, nil
}

// Close closes the connections. Nothing may use the source any more.
func (s *OutboxSource) Close() {
	s.main.drop(context.Background())
	s.side.drop(context.Background())
}

// Claim implements outbox.Source.
func (s *OutboxSource) Claim(ctx context.Context, owner string, lease time.Duration) (outbox.Term, error) {
	conn, err := s.main.get(ctx)
	if err != nil {
		return nil, err
	}
	// A claim that is cut short may have succeeded, and nobody would know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimWithin)
	defer cancel()
	t, err := s.claim(ctx, conn, owner, lease)
	if errors.Is(err, pgx.ErrNoRows) { // nobody has heard of this relay
		if _, err = conn.Exec(ctx, outboxStatements["introduce"], s.relay); err == nil {
			t, err = s.claim(ctx, conn, owner, lease)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("claim the outbox: %w", err)
	}
	return t, nil
}

func (s *OutboxSource) claim(ctx context.Context, conn *pgx.Conn, owner string, lease time.Duration) (*term, error) {
	t := &term{source: s, conn: conn}
	var epoch *int64
	var moved bool
	c := &t.start
	err := conn.QueryRow(ctx, outboxStatements["claim"], s.relay, owner, lease.Seconds()).
		Scan(&epoch, &c.Snapshot, &c.Window, &c.WindowID, &c.MaxID, &moved)
	switch {
	case err != nil:
		return nil, err
	case moved:
		return nil, outbox.ErrReanchor
	case epoch == nil:
		return nil, outbox.ErrHeld
	}
	t.epoch = *epoch
	return t, nil
}

// Recall implements outbox.Source.
func (s *OutboxSource) Recall(ctx context.Context, m outbox.Memory) (outbox.Recalled, error) {
	var now outbox.Recalled
	err := s.side.use(ctx, func(conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, outboxStatements["recall"], s.relay, m.Cursor.Snapshot, m.Events).Scan(&now.Epoch, &now.MaxID, &now.Gone)
		if errors.Is(err, pgx.ErrNoRows) { // it was not known yet when this database was copied
			now.Gone, err = len(m.Events), nil
		}
		return err
	})
	if err != nil {
		return now, fmt.Errorf("compare with what was committed: %w", err)
	}
	return now, nil
}

// Window implements outbox.Source.
func (s *OutboxSource) Window(ctx context.Context, c outbox.Cursor, limit int) ([]outbox.Place, error) {
	var places []outbox.Place
	err := s.side.use(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, outboxStatements["window"], c.Snapshot, c.Window, c.WindowID, limit)
		if err != nil {
			return err
		}
		places, err = pgx.CollectRows(rows, pgx.RowToStructByPos[outbox.Place])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list a window of the outbox: %w", err)
	}
	return places, nil
}

// Listen implements outbox.Source.
func (s *OutboxSource) Listen(ctx context.Context, wake func()) error {
	conn, err := s.ears.dial(ctx)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "listen "+outboxChannel); err != nil {
		return fmt.Errorf("listen for events: %w", err)
	}
	for {
		wake()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("listen for events: %w", err)
		}
	}
}

// Vitals implements outbox.Source.
func (s *OutboxSource) Vitals(ctx context.Context) (outbox.Vitals, error) {
	ctx, cancel := context.WithTimeout(ctx, tendWithin)
	defer cancel()
	var v outbox.Vitals
	var oldest float64
	err := s.side.use(ctx, func(conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, outboxStatements["vitals"], s.relay).Scan(&v.Led, &v.Paused, &oldest, &v.Quarantined)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it has not begun
		}
		return err
	})
	if err != nil {
		return v, fmt.Errorf("look after the outbox: %w", err)
	}
	v.Oldest = seconds(oldest)
	return v, nil
}

// Prune implements outbox.Source.
func (s *OutboxSource) Prune(ctx context.Context, retention time.Duration, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, tendWithin)
	defer cancel()
	var pruned []uint64
	err := s.side.use(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, outboxStatements["prune"], retention.Seconds(), limit, s.side.pruned)
		if err != nil {
			return err
		}
		if pruned, err = pgx.CollectRows(rows, pgx.RowTo[uint64]); err != nil {
			return err
		}
		for _, xid := range pruned {
			s.side.pruned = max(s.side.pruned, xid)
		}
		if len(pruned) == limit {
			return nil
		}
		_, err = conn.Exec(ctx, outboxStatements["forget"], settledRetention.Seconds())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune the outbox: %w", err)
	}
	return len(pruned), nil
}

// seconds turns what the database counts into a duration that is not negative.
func seconds(s float64) time.Duration { return max(0, time.Duration(s*float64(time.Second))) }
