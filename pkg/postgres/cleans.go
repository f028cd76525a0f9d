package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// cleanRequestJSON is what an operation remembers of the clean that was asked
// for.
type cleanRequestJSON struct {
	EntityType string     `json:"entityType"`
	EntityID   string     `json:"entityId"`
	Reorder    bool       `json:"reorder"`
	StateAt    *time.Time `json:"stateAt,omitempty"`
}

type cleanResultJSON struct {
	Deleted int64 `json:"deleted"`
	Parts   int   `json:"parts"`
}

// OpenClean implements preferences.Tx.
func (t *tx) OpenClean(ctx context.Context, cl preferences.Clean) error {
	in := cleanRequestJSON{EntityType: cl.Entity.Type, EntityID: cl.Entity.ID, Reorder: cl.Reorder}
	if !cl.StateAt.IsZero() {
		in.StateAt = &cl.StateAt
	}
	request, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	var owner *string
	if cl.Owner != "" {
		owner = &cl.Owner
	}
	return send(ctx, t.conn, run("opinsert", cl.ID, cl.Entity.Type, cl.Entity.ID, cl.Actor, cl.Cause, string(request), owner, cl.Lease.Seconds()))
}

// Victims implements preferences.Tx.
func (t *tx) Victims(ctx context.Context, e preferences.Entity) ([]int64, error) {
	var lists []int64
	err := send(ctx, t.conn, all(run("victims", e.Type, e.ID), &lists, pgx.RowTo[int64]))
	return lists, err
}

// CleanLists implements preferences.Tx. It holds the entity's bucket shared: a
// restoration either is seen here or waits until the chunk is committed.
// Without it a chunk could take an item away after the restoration had been
// acknowledged.
func (t *tx) CleanLists(ctx context.Context, cl preferences.Clean, lists []int64) ([]events.TouchedList, int, error) {
	if len(lists) == 0 {
		return nil, 0, nil
	}
	locked, gaps, err := t.lockLists(ctx, lists)
	if err != nil || len(locked) == 0 {
		return nil, len(lists), err
	}
	var touched []events.TouchedList
	steps := []step{bucketShared([]int64{entityBucket(cl.Entity)})}
	if !cl.Reorder {
		steps = append(steps, run("chunkgaps", cl.Entity.Type, cl.Entity.ID, locked))
	}
	steps = append(steps, all(run("chunkclean", cl.Entity.Type, cl.Entity.ID, locked, gaps, cl.Cause, cl.ID, cl.Reorder),
		&touched, pgx.RowToStructByPos[events.TouchedList]))
	return touched, len(lists) - len(locked), send(ctx, t.conn, steps...)
}

// lockLists locks those of the lists that nobody else holds, and says for each
// whether its readers see gaps.
func (t *tx) lockLists(ctx context.Context, lists []int64) (locked []int64, gaps []bool, err error) {
	type headRow struct {
		ListID int64
		Gaps   bool
	}
	var heads []headRow
	err = send(ctx, t.conn, all(run("chunklock", lists), &heads, pgx.RowToStructByPos[headRow]))
	for _, h := range heads {
		locked, gaps = append(locked, h.ListID), append(gaps, h.Gaps)
	}
	return locked, gaps, err
}

// SaveClean implements preferences.Tx.
func (t *tx) SaveClean(ctx context.Context, cl preferences.Clean) error {
	return owned(send(ctx, t.conn, run("stepsave", cl.ID, cl.Parts, cl.Deleted),
		run("opsave", cl.ID, cl.Epoch, cl.Deleted, cl.Total, cl.Lease.Seconds())))
}

// LockClean implements preferences.Tx. It locks in one statement and reads in
// the next: whoever it waited for may have saved.
func (t *tx) LockClean(ctx context.Context, cl preferences.Clean) (preferences.Clean, error) {
	err := send(ctx, t.conn, run("oplock", cl.ID, cl.Epoch), run("step", cl.ID).first(&cl.Entity.Type, &cl.Entity.ID, &cl.Parts, &cl.Deleted))
	return cl, owned(err)
}

// FinishClean implements preferences.Tx.
func (t *tx) FinishClean(ctx context.Context, cl preferences.Clean) error {
	result, err := json.Marshal(cleanResultJSON{cl.Deleted, cl.Parts})
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return owned(send(ctx, t.conn, run("cleaned", cl.Entity.Type, cl.Entity.ID), run("stepsave", cl.ID, cl.Parts, cl.Deleted),
		run("opfinish", cl.ID, cl.Epoch, "succeeded", string(result), nil, cl.Deleted, cl.Total)))
}

// FailClean implements preferences.Tx.
func (t *tx) FailClean(ctx context.Context, cl preferences.Clean, cause error) error {
	text, err := encodeCause(cause)
	if err != nil {
		return err
	}
	return owned(send(ctx, t.conn, run("stepsave", cl.ID, cl.Parts, cl.Deleted),
		run("opfinish", cl.ID, cl.Epoch, "failed", nil, text, cl.Deleted, cl.Total)))
}

// owned names the fence that an operation's saves run into when another runner
// has taken it over.
func owned(err error) error {
	if refused(err, "oplock") || refused(err, "opsave") || refused(err, "opfinish") {
		return fault.New(fault.Aborted, "OPERATION_TAKEN_OVER", "Another runner has taken the operation over.").Because(err)
	}
	return err
}

// encodeCause spells why an operation failed. It stays in the database: it is
// for operators.
func encodeCause(cause error) (string, error) {
	text, err := json.Marshal(map[string]string{"reason": string(fault.ReasonOf(cause)), "message": cause.Error()})
	if err != nil {
		return "", fmt.Errorf("encode error: %w", err)
	}
	return string(text), nil
}

// Claim takes an open clean that nobody works on; false means that there is
// none.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration) (preferences.Clean, bool, error) {
	var cl preferences.Clean
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		cl = preferences.Clean{Owner: owner, Lease: lease}
		var stateAt *time.Time
		var done int64
		err := send(ctx, c, run("begin"), run("claim", owner, lease.Seconds()).first(
			&cl.ID, &cl.Epoch, &cl.Attempts, &cl.Cause, &cl.Actor, &cl.Reorder, &stateAt, &done, &cl.Total))
		if err != nil {
			return err
		}
		if stateAt != nil {
			cl.StateAt = stateAt.UTC()
		}
		return send(ctx, c, run("step", cl.ID).first(&cl.Entity.Type, &cl.Entity.ID, &cl.Parts, &cl.Deleted), run(commit))
	})
	return cl, err == nil && cl.Epoch > 0, err
}

// RetryLater gives a clean back after a failure, to be tried again after the
// delay, with its Attempts, unless progress was stored that its owner missed.
func (s *Store) RetryLater(ctx context.Context, cl preferences.Clean, delay time.Duration, cause error) error {
	text, err := encodeCause(cause)
	if err != nil {
		return err
	}
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("opretry", cl.ID, cl.Epoch, delay.Seconds(), text, cl.Attempts), run(commit))
	})
}
