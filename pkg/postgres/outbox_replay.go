package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/retry"
)

// replayChunk is how many rows are replayed in one transaction.
const replayChunk = 1000

// OutboxSelection picks published events that the outbox still holds. Fields
// that are zero pick all.
type OutboxSelection struct {
	FromID, ToID int64     // both included
	Since, Until time.Time // when it was written; Until is not included
	Topic        string
	Key          string
}

func (s OutboxSelection) args(relay string) []any {
	since, until := any("-infinity"), any("infinity")
	if !s.Since.IsZero() {
		since = s.Since
	}
	if !s.Until.IsZero() {
		until = s.Until
	}
	return []any{relay, s.FromID, cmp.Or(s.ToID, math.MaxInt64), since, until, s.Topic, s.Key}
}

// publishedRow is a row that a selection picks.
type publishedRow struct {
	XID         uint64
	ID          int64
	Topic, Type string
	CreatedAt   time.Time
}

// PublishedEvents is how many events of one topic and type a selection picks.
type PublishedEvents struct {
	Topic, Type     string
	Events          int
	FirstID, LastID int64
	First, Last     time.Time
}

// Published says what a selection picks, by topic and type.
func (c *OutboxControl) Published(ctx context.Context, s OutboxSelection) ([]PublishedEvents, error) {
	groups := map[[2]string]*PublishedEvents{}
	err := c.each(ctx, s, func(row publishedRow) error {
		at := [2]string{row.Topic, row.Type}
		g := groups[at]
		if g == nil {
			g = &PublishedEvents{Topic: row.Topic, Type: row.Type, FirstID: row.ID, First: row.CreatedAt, Last: row.CreatedAt}
			groups[at] = g
		}
		g.Events, g.LastID = g.Events+1, row.ID
		if row.CreatedAt.Before(g.First) {
			g.First = row.CreatedAt
		}
		if row.CreatedAt.After(g.Last) {
			g.Last = row.CreatedAt
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count published events: %w", err)
	}
	out := make([]PublishedEvents, 0, len(groups))
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b PublishedEvents) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Type, b.Type))
	})
	return out, nil
}

// each calls fn with the rows that a selection picks, in the order of ids.
func (c *OutboxControl) each(ctx context.Context, s OutboxSelection, fn func(publishedRow) error) error {
	return c.more.use(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, controlStatements["published"], s.args(c.relay)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row publishedRow
			if err := rows.Scan(&row.XID, &row.ID, &row.Topic, &row.Type, &row.CreatedAt); err != nil {
				return err
			}
			if err := fn(row); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// Replay has the relay publish again what a selection picks, in the order of
// ids, at most rate events a second; 0 is as fast as it can. After each chunk it
// calls progress with the last id and how many that makes. What it has not come
// to when it ends early begins behind that id.
func (c *OutboxControl) Replay(ctx context.Context, s OutboxSelection, rate int, progress func(last int64, events int)) (int, error) {
	r := &replay{control: c, rate: rate, progress: progress, began: time.Now()}
	err := c.each(ctx, s, func(row publishedRow) error {
		r.xids, r.ids = append(r.xids, row.XID), append(r.ids, row.ID)
		if len(r.ids) < r.chunk() {
			return nil
		}
		return r.flush(ctx)
	})
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		return r.done, fmt.Errorf("replay: %w", err)
	}
	return r.done, nil
}

// replay is one on its way.
type replay struct {
	control  *OutboxControl
	rate     int
	progress func(int64, int)
	began    time.Time
	xids     []uint64
	ids      []int64
	done     int
}

func (r *replay) chunk() int {
	if r.rate > 0 {
		return min(r.rate, replayChunk)
	}
	return replayChunk
}

// flush replays the rows of a chunk. Chunks follow each other in the order of
// ids, so whoever sees one has seen those before it.
func (r *replay) flush(ctx context.Context) error {
	if len(r.ids) == 0 {
		return nil
	}
	if err := r.pace(ctx); err != nil {
		return err
	}
	changed, err := r.control.exec(ctx, "replay", r.xids, r.ids)
	if err != nil {
		return err
	}
	r.done += int(changed)
	err = r.control.link.use(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, outboxStatements["notify"], outboxChannel)
		return err
	})
	r.progress(r.ids[len(r.ids)-1], r.done)
	r.xids, r.ids = r.xids[:0], r.ids[:0]
	return err
}

// pace waits until the rate allows the next chunk.
func (r *replay) pace(ctx context.Context) error {
	if r.rate <= 0 {
		return nil
	}
	due := r.began.Add(time.Duration(r.done) * time.Second / time.Duration(r.rate))
	return retry.Wait(ctx, time.Until(due))
}
