package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// rehearse does everything that a write does but write. It takes no lock: what
// it says was true at one moment, like every read.
func (w *write) rehearse(ctx context.Context) (preferences.Result, error) {
	stored, _, err := w.read(ctx, w.store.lists.find(w.key))
	if err != nil {
		return preferences.Result{}, err
	}
	changes, _, err := w.plan(stored, nil)
	if err != nil {
		return preferences.Result{}, err
	}
	var skipped []preferences.Entity
	if !changes.Empty() {
		dead, err := w.dead(ctx, stored, changes)
		if err != nil {
			return preferences.Result{}, err
		}
		if changes, skipped, err = w.plan(stored, dead); err != nil {
			return preferences.Result{}, err
		}
	}
	if changes.Empty() {
		return result(stored, changes, skipped), nil
	}
	next := stored
	next.Items = changes.Next.Items
	return result(next, changes, skipped), nil
}

// dead returns the entities among those to add that are deleted; the first write
// of a user who is deleted is refused.
func (w *write) dead(ctx context.Context, stored preferences.List, ch preferences.Changes) (dead []preferences.Entity, err error) {
	types, ids := entityColumns(ch.Insert)
	steps := []step{all(run("tombstones", types, ids), &dead, scanEntity)}
	if stored.ID == 0 {
		steps = append(steps, guardUser(w.key.UserID))
	}
	return dead, userAlive(send(ctx, w.conn, steps...))
}

// mostHolders is how far holders are counted: what is more takes its time anyway.
const mostHolders = 1_000_000

// Holders implements preferences.Store.
func (s *Store) Holders(ctx context.Context, entities ...preferences.Entity) (int64, error) {
	types, ids := entityTexts(entities)
	var n int64
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("holders", types, ids, mostHolders).first(&n))
	})
	return n, err
}

func entityTexts(entities []preferences.Entity) (types, ids []string) {
	types, ids = make([]string, len(entities)), make([]string, len(entities))
	for i, e := range entities {
		types[i], ids[i] = e.Type, e.ID
	}
	return types, ids
}
