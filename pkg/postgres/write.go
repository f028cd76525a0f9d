package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Write implements preferences.Store. It reads without a lock, decides, and
// writes in one batch that the server stops if the list has moved on or an
// entity was deleted meanwhile. Only then, and for a first write, it goes under
// the lock. A write that changes nothing takes no lock and writes nothing.
func (s *Store) Write(ctx context.Context, key preferences.Key, by preferences.By, decide preferences.Decide) (preferences.Result, error) {
	var res preferences.Result
	var wrote bool
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		w := write{store: s, conn: c, key: key, by: by, decide: decide}
		res, err = w.optimistic(ctx)
		wrote = w.wrote
		return err
	})
	if err != nil {
		return preferences.Result{}, err
	}
	if wrote {
		s.committed()
	}
	return res, nil
}

// write is one attempt at a write, on one connection.
type write struct {
	store  *Store
	conn   *pgx.Conn
	key    preferences.Key
	by     preferences.By
	decide preferences.Decide
	first  bool // the list has no head yet
	wrote  bool
}

func (w *write) optimistic(ctx context.Context) (preferences.Result, error) {
	var stored preferences.List
	if err := send(ctx, w.conn, readList(w.key, &stored)); err != nil {
		return preferences.Result{}, err
	}
	if stored.ID == 0 && w.key.Item != uuid.Nil {
		return preferences.Result{}, preferences.NotFound()
	}
	w.key.Domain = stored.Domain
	changes, _, err := w.plan(stored, nil)
	if err != nil || changes.Empty() {
		return result(stored, changes, nil), err
	}
	if w.first = stored.ID == 0; w.first {
		return w.locked(ctx)
	}
	record, err := w.store.record(changes, w.by)
	if err != nil {
		return preferences.Result{}, err
	}
	steps := append([]step{run("begin"), guardHead(stored, changes)}, guards(changes.Insert)...)
	err = send(ctx, w.conn, append(steps, record...)...)
	if overtaken(err) && w.by.Conditional {
		// The list is not what the client saw: 412 needs no lock.
		if err := send(ctx, w.conn, run("rollback"), w.readList(&stored)); err != nil {
			return preferences.Result{}, err
		}
		if _, err := w.decide(stored); err != nil {
			return preferences.Result{}, err
		}
		return w.locked(ctx)
	}
	if overtaken(err) || refused(err, "guardlive") {
		return w.locked(ctx, run("rollback"))
	}
	w.wrote = err == nil
	return result(changes.Next, changes, nil), err
}

// readList reads the list by its user and domain, also where the key names an
// item: the item may be gone by now, and the decision says so.
func (w *write) readList(l *preferences.List) step {
	return readList(preferences.Key{UserID: w.key.UserID, Domain: w.key.Domain}, l)
}

// locked runs at most once: under the lock nothing can move.
func (w *write) locked(ctx context.Context, before ...step) (preferences.Result, error) {
	stored, err := w.lock(ctx, before)
	if err != nil {
		return preferences.Result{}, err
	}
	changes, _, err := w.plan(stored, nil)
	if err != nil || changes.Empty() {
		return result(stored, changes, nil), err
	}
	var dead []preferences.Entity
	if adds := guards(changes.Insert); adds != nil {
		adds[1].name = "tombstones"
		if err := send(ctx, w.conn, adds[0], all(adds[1], &dead, scanEntity)); err != nil {
			return preferences.Result{}, err
		}
	}
	var skipped []preferences.Entity
	if len(dead) > 0 {
		changes, skipped, err = w.plan(stored, dead)
		if err != nil || changes.Empty() {
			return result(stored, changes, skipped), err
		}
	}
	record, err := w.store.record(changes, w.by)
	if err != nil {
		return preferences.Result{}, err
	}
	// The guard always holds here: one statement serves both paths.
	err = send(ctx, w.conn, append([]step{guardHead(stored, changes)}, record...)...)
	w.wrote = err == nil
	return result(changes.Next, changes, skipped), err
}

// lock begins a transaction, locks the head and reads the list. Locking and
// reading are two statements, because a statement's snapshot is taken before
// it waits. A list that has no head gets one, unless its user is deleted.
func (w *write) lock(ctx context.Context, before []step) (preferences.List, error) {
	var stored preferences.List
	lock := []step{run("lock", w.key.UserID, w.key.Domain), w.readList(&stored)}
	if !w.first {
		err := send(ctx, w.conn, slices.Concat(before, []step{run("begin")}, lock)...)
		if err != nil || stored.ID != 0 || w.key.Item != uuid.Nil {
			return stored, err
		}
		before = []step{run("rollback")} // the list was erased since it was read
	}
	user := preferences.Entity{Type: preferences.UserType, ID: w.key.UserID}
	create := []step{
		run("begin"), bucketShared([]int64{userBucket(user.ID)}), run("guardlive", []string{user.Type}, []string{user.ID}),
		run("ensure", w.key.UserID, w.key.Domain),
	}
	err := send(ctx, w.conn, slices.Concat(before, create, lock)...)
	if refused(err, "guardlive") {
		err = fault.New(fault.Denied, fault.ReasonUserDeleted, "The user has been deleted.")
	}
	return stored, err
}

// plan asks what is wanted and compares. Dead entities are left out, unless
// the writer insists.
func (w *write) plan(stored preferences.List, dead []preferences.Entity) (preferences.Changes, []preferences.Entity, error) {
	wanted, err := w.decide(stored)
	if err != nil {
		return preferences.Changes{}, nil, err
	}
	var skipped []preferences.Entity
	if len(dead) > 0 {
		wanted = slices.DeleteFunc(slices.Clone(wanted), func(x preferences.Wanted) bool {
			gone := slices.Contains(dead, x.Entity())
			if gone {
				skipped = append(skipped, x.Entity())
			}
			return gone
		})
	}
	if w.by.Strict && len(skipped) > 0 {
		return preferences.Changes{}, nil, fault.New(fault.Conflict, fault.ReasonEntityDeleted, "The entity has been deleted by its owner.")
	}
	now := w.store.now().UTC().Truncate(time.Microsecond)
	if next := stored.UpdateTime.Add(time.Microsecond); now.Before(next) {
		now = next
	}
	changes := preferences.Diff(stored, wanted, preferences.Stamp{Time: now, NewID: preferences.NewID})
	return changes, skipped, changes.Check()
}

func result(l preferences.List, c preferences.Changes, skipped []preferences.Entity) preferences.Result {
	sum := c.Summary()
	sum.Total = len(l.Items)
	return preferences.Result{List: l, Summary: sum, Skipped: skipped}
}

func guardHead(stored preferences.List, c preferences.Changes) step {
	return run("guardhead", stored.ID, stored.Version, c.Next.Gaps, c.Next.UpdateTime)
}
