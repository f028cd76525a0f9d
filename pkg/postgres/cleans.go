package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// cleanRequestJSON is what an operation remembers of the clean that was asked
// for: of one entity, or of many.
type cleanRequestJSON struct {
	*targetJSON
	Entities []targetJSON `json:"entities,omitempty"`
	Reorder  bool         `json:"reorder"`
	Deferred bool         `json:"deferred,omitempty"`
}

type targetJSON struct {
	EntityType string     `json:"entityType"`
	EntityID   string     `json:"entityId"`
	StateAt    *time.Time `json:"stateAt,omitempty"`
}

func targetOf(t preferences.Target) targetJSON {
	out := targetJSON{EntityType: t.Entity.Type, EntityID: t.Entity.ID}
	if !t.StateAt.IsZero() {
		out.StateAt = &t.StateAt
	}
	return out
}

// OpenClean implements preferences.Tx. The entities of a bulk clean wait for
// their turn; the one of another clean has it from the beginning.
func (t *tx) OpenClean(ctx context.Context, c preferences.Cleaning) error {
	in := cleanRequestJSON{Reorder: c.Reorder, Deferred: c.Deferred}
	first := preferences.Pending
	types, ids := make([]string, len(c.Targets)), make([]string, len(c.Targets))
	for i, x := range c.Targets {
		types[i], ids[i] = x.Entity.Type, x.Entity.ID
		in.Entities = append(in.Entities, targetOf(x))
	}
	if c.Kind == preferences.KindClean {
		first, in.targetJSON, in.Entities = preferences.Running, &in.Entities[0], nil
	}
	request, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	var owner *string
	if c.Owner != "" {
		owner = &c.Owner
	}
	t.later(run("opinsert", c.ID, string(c.Kind), c.Actor, c.Cause, string(request), owner, c.Lease.Seconds(), c.Total, types, ids, string(first), c.Traceparent))
	return nil
}

// NextClean implements preferences.Tx.
func (t *tx) NextClean(ctx context.Context, h preferences.Held) (preferences.Clean, error) {
	c := preferences.Clean{Held: h}
	found := false
	err := t.send(ctx, lockOperation(h, &c.Stopping), run("stepbegin", h.ID), stepNow(&c, &found))
	if err == nil && !found {
		err = fmt.Errorf("operation %s is open and has dealt with all its entities", h.ID)
	}
	return c, err
}

func lockOperation(h preferences.Held, stopping *bool) step {
	return run("oplock", h.ID, h.Epoch).first(nil, stopping)
}

// stepNow reads the entity that an operation is at.
func stepNow(c *preferences.Clean, found *bool) step {
	st := run("stepnow", c.ID)
	st.read = func(rows pgx.Rows) error {
		if *found = rows.Next(); !*found {
			return nil
		}
		var at *time.Time
		err := rows.Scan(&c.Seq, &c.Entity.Type, &c.Entity.ID, &at, &c.Reorder, &c.Begun, &c.Parts, &c.Deleted, &c.Before)
		if at != nil {
			c.StateAt = at.UTC()
		}
		return err
	}
	return st
}

// Victims implements preferences.Tx.
func (t *tx) Victims(ctx context.Context, e preferences.Entity) ([]int64, error) {
	var lists []int64
	err := t.send(ctx, all(run("victims", e.Type, e.ID), &lists, pgx.RowTo[int64]))
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
	if mutant.Is("chunk-without-bucket") {
		steps = nil
	}
	if !cl.Reorder {
		steps = append(steps, run("chunkgaps", cl.Entity.Type, cl.Entity.ID, locked))
	}
	clean := run("chunkclean", cl.Entity.Type, cl.Entity.ID, locked, gaps, cl.Cause, cl.ID, cl.Reorder)
	if mutant.Is("sweep-ignores-restore") {
		clean = clean.edited("and d.deleted", "")
	}
	err = t.send(ctx, append(steps, all(clean, &touched, pgx.RowToStructByPos[events.TouchedList]))...)
	crashpoint.Hit("chunk.cleaned")
	return touched, len(lists) - len(locked), err
}

// lockLists locks those of the lists that nobody else holds, and says for each
// whether its readers see gaps.
func (t *tx) lockLists(ctx context.Context, lists []int64) (locked []int64, gaps []bool, err error) {
	type headRow struct {
		ListID int64
		Gaps   bool
	}
	var heads []headRow
	err = t.send(ctx, all(run("chunklock", lists), &heads, pgx.RowToStructByPos[headRow]))
	for _, h := range heads {
		locked, gaps = append(locked, h.ListID), append(gaps, h.Gaps)
	}
	return locked, gaps, err
}

// SaveClean implements preferences.Tx.
func (t *tx) SaveClean(ctx context.Context, c preferences.Clean) (stopping bool, err error) {
	crashpoint.Hit("progress.saving")
	save := run("opsave", c.ID, c.Epoch, c.Before+c.Deleted, c.Total, c.Lease.Seconds()).first(nil, &stopping)
	if mutant.Is("save-without-epoch") {
		save = save.edited("epoch = $2", "$2::bigint >= 0")
	}
	err = t.send(ctx, run("stepsave", c.ID, c.Seq, c.Parts, c.Deleted), save)
	crashpoint.Hit("progress.saved")
	return stopping, err
}

// LockClean implements preferences.Tx. It locks in one statement and reads in
// the next: whoever it waited for may have saved.
func (t *tx) LockClean(ctx context.Context, h preferences.Held) (c preferences.Clean, found bool, err error) {
	c.Held = h
	err = t.send(ctx, lockOperation(h, &c.Stopping), stepNow(&c, &found))
	return c, found, err
}

// EndClean implements preferences.Tx.
func (t *tx) EndClean(ctx context.Context, c preferences.Clean, state preferences.OperationState, cause error) error {
	text, err := encodeCause(cause)
	if err != nil {
		return err
	}
	crashpoint.Hit("clean.ending")
	t.later(run("stepend", c.ID, c.Seq, c.Parts, c.Deleted, string(state), text))
	if state == preferences.Succeeded {
		t.last = append(t.last, run("cleaned", c.Entity.Type, c.Entity.ID))
	}
	return nil
}

// AllEnded implements preferences.Tx.
func (t *tx) AllEnded(ctx context.Context, h preferences.Held) (ended bool, err error) {
	crashpoint.Hit("clean.ended")
	err = t.send(ctx, run("stepsleft", h.ID).first(&ended))
	return ended, err
}

// endWithin is what it may take to count whom a very large clean has taken
// something from. Its transaction holds neither a list nor the state of the
// entity: nobody waits for it.
const endWithin = 5 * time.Minute

// EndOperation implements preferences.Tx.
func (t *tx) EndOperation(ctx context.Context, h preferences.Held, state preferences.OperationState, cause error) error {
	text, err := encodeCause(cause)
	if err != nil {
		return err
	}
	crashpoint.Hit("operation.ending")
	if h.Undoing {
		return t.send(ctx, run("undoend", h.ID, h.Epoch, string(state), text))
	}
	t.late = true
	counting, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	var users int64
	if err := t.send(counting, run("patient"), run("stepsum", h.ID).first(&users)); err != nil {
		return err
	}
	t.later(run("opfinish", h.ID, h.Epoch, string(state), users, text))
	return nil
}

// CleanedUsers implements preferences.Store.
func (s *Store) CleanedUsers(ctx context.Context, id uuid.UUID) ([]string, error) {
	users := []string{}
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, all(run("cleanedusers", id), &users, pgx.RowTo[string]))
	})
	return users, err
}
