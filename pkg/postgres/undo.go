package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// LiftState implements preferences.Store, under the lock of SetState.
func (s *Store) LiftState(ctx context.Context, e preferences.Entity, cause, source string) error {
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		word := []any{e.Type, e.ID, cause, source}
		return send(ctx, c, run("begin"), run("bucketexclusive", entityBucket(e)), run("ownerlift", word...), run("statelift", word...), run(commit))
	})
	crashpoint.Hit("state.lifted")
	return err
}

// Touched implements preferences.Tx.
func (t *tx) Touched(ctx context.Context, h preferences.Held) (entities []preferences.Entity, lists []int64, err error) {
	err = t.send(ctx, all(run("stepsbegun", h.ID), &entities, scanEntity), all(run("undolists", h.ID), &lists, pgx.RowTo[int64]))
	if err != nil {
		return nil, nil, err
	}
	err = t.send(ctx, run("undobegin", h.ID, h.Epoch, len(lists)))
	crashpoint.Hit("undo.begun")
	return entities, lists, err
}

// PutBack implements preferences.Tx. It writes as any writer under the lock of
// the list does, and saves the place of the undo in the same transaction. A list
// that was erased gets nothing, and one that would be too large stays as it is.
func (t *tx) PutBack(ctx context.Context, h preferences.Held, by preferences.By, list int64) error {
	w := write{store: t.store, conn: t.conn, by: by}
	removals, stored, err := t.removals(ctx, &w, h, list)
	if err != nil {
		return err
	}
	restored := 0
	if stored.ID != 0 && len(removals) > 0 {
		w.decide = func(l preferences.List) ([]preferences.Wanted, error) { return l.PutBack(removals), nil }
		changes, _, err := w.underLock(ctx, stored)
		switch {
		case fault.CodeOf(err) == fault.Invalid: // it would be too large
		case err != nil:
			return err
		case !changes.Empty():
			record, err := t.store.record(changes, by)
			if err != nil {
				return err
			}
			if err := t.send(ctx, append([]step{guardHead(stored, changes)}, record...)...); err != nil {
				return err
			}
			restored, t.emitted = len(changes.Created), true
		}
	}
	crashpoint.Hit("list.restored")
	return t.send(ctx, run("undosave", h.ID, h.Epoch, list, restored, h.Lease.Seconds()))
}

// removals locks a list, and reads it and what the operation took from it.
func (t *tx) removals(ctx context.Context, w *write, h preferences.Held, list int64) (out []preferences.Removal, stored preferences.List, err error) {
	head := run("headlock", list).first(&w.key.UserID, &w.key.Domain)
	if err := t.send(ctx, head); err != nil || w.key.UserID == "" {
		return nil, stored, err
	}
	taken := all(run("removals", list, h.ID), &out, func(row pgx.CollectableRow) (r preferences.Removal, err error) {
		var delta []byte
		if err := row.Scan(&r.Version, &r.WereGaps, &delta); err != nil {
			return r, err
		}
		if err := json.Unmarshal(delta, &r.Delta); err != nil {
			return r, fmt.Errorf("decode the delta of version %d of list %d: %w", r.Version, list, err)
		}
		return r, nil
	})
	return out, stored, t.send(ctx, w.readList(&stored), taken)
}
