package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Write implements preferences.Store. It reads without a lock, or takes the copy
// that it has, decides, and writes in one batch that the server stops if the list has moved on or an
// entity was deleted meanwhile. Only then, and for a first write, it goes under
// the lock. A write that changes nothing takes no lock and writes nothing.
func (s *Store) Write(ctx context.Context, key preferences.Key, by preferences.By, decide preferences.Decide) (preferences.Result, error) {
	var res preferences.Result
	var wrote bool
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		w := write{store: s, conn: c, key: key, by: by, decide: decide}
		if by.Rehearsed {
			res, err = w.rehearse(ctx)
			return err
		}
		res, err = w.optimistic(ctx)
		wrote = w.wrote
		return err
	})
	if err != nil {
		return preferences.Result{}, err
	}
	crashpoint.Hit("write.committed")
	if wrote {
		s.lists.keep(res.List)
		s.committed()
	}
	return res, nil
}

// write is one attempt at a write, on one connection.
type write struct {
	store   *Store
	conn    *pgx.Conn
	key     preferences.Key
	by      preferences.By
	decide  preferences.Decide
	first   bool // the list has no head yet
	wrote   bool
	guessed bool // it was decided on a copy
}

func (w *write) optimistic(ctx context.Context) (preferences.Result, error) {
	if stored, changes := w.guess(); !changes.Empty() {
		w.guessed = true
		return w.guarded(ctx, stored, changes)
	}
	stored, earlier, err := w.read(ctx)
	if err != nil || earlier != nil {
		return preferences.Result{Answer: earlier}, err
	}
	changes, _, err := w.plan(stored, nil)
	if err != nil {
		return preferences.Result{}, err
	}
	if changes.Empty() {
		return w.nothing(ctx, result(stored, changes, nil))
	}
	return w.guarded(ctx, stored, changes)
}

// guess decides on the copy of the list that this process has, which saves a
// round trip: if it is not current any more, the guard says so. What would be
// refused, or would change nothing, must be decided on the list itself, and a
// write that happens once has to ask about its key anyway.
func (w *write) guess() (stored preferences.List, changes preferences.Changes) {
	stored = w.store.lists.find(w.key)
	if stored.ID == 0 || w.by.Once != nil {
		return stored, changes
	}
	changes, _, err := w.plan(stored, nil)
	if err != nil {
		return stored, preferences.Changes{}
	}
	return stored, changes
}

// guarded writes what was decided, if the list is still the one that it was
// decided on.
func (w *write) guarded(ctx context.Context, stored preferences.List, changes preferences.Changes) (preferences.Result, error) {
	w.key.Domain = stored.Domain
	if w.first = stored.ID == 0; w.first {
		return w.locked(ctx)
	}
	res := result(changes.Next, changes, nil)
	record, err := w.record(&res, changes)
	if err != nil {
		return preferences.Result{}, err
	}
	head, adds := append(w.begin(), guardHead(stored, changes)), guards(changes.Insert)
	if mutant.Is("tombstone-before-lock") {
		slices.Reverse(adds)
	}
	err = send(ctx, w.conn, slices.Concat(head, adds, record)...)
	if w.guessed {
		w.store.lists.count(stored, !overtaken(err))
	}
	if overtaken(err) && w.by.Conditional {
		// The list is not what the client saw: 412 needs no lock.
		if err := send(ctx, w.conn, w.undo(), w.readList(&stored)); err != nil {
			return preferences.Result{}, err
		}
		if _, err := w.decide(stored); err != nil {
			return preferences.Result{}, err
		}
		return w.locked(ctx)
	}
	if overtaken(err) || refused(err, "guardlive") {
		return w.locked(ctx, w.undo())
	}
	w.wrote = err == nil
	return res, err
}

// read reads the list, or what the same request was answered before.
func (w *write) read(ctx context.Context) (stored preferences.List, earlier *preferences.Answer, err error) {
	list := w.store.readList(w.key, &stored)
	if w.key.Alone && w.store.lists.find(w.key).ID == 0 {
		list = readItem(w.key.Item, w.key.UserID, &stored)
		w.store.lists.count(preferences.List{}, false)
	}
	if w.by.Once == nil {
		err = send(ctx, w.conn, list)
	} else {
		earlier, err = w.claim(ctx, list)
	}
	if err == nil && earlier == nil && stored.ID == 0 && w.key.Item != uuid.Nil {
		err = preferences.NotFound()
	}
	w.store.lists.keep(stored)
	return stored, earlier, err
}

// readList reads the list by its user and domain, also where the key names an
// item: the item may be gone by now, and the decision says so.
func (w *write) readList(l *preferences.List) step {
	return w.store.readList(preferences.Key{UserID: w.key.UserID, Domain: w.key.Domain}, l)
}

// locked runs at most once on a list that there is: under the lock nothing can
// move.
func (w *write) locked(ctx context.Context, before ...step) (preferences.Result, error) {
	stored, err := w.lock(ctx, before)
	if err != nil {
		return preferences.Result{}, err
	}
	if stored.ID == 0 && w.key.Item == uuid.Nil {
		return w.erased(ctx, stored)
	}
	changes, skipped, err := w.underLock(ctx, stored)
	if err != nil {
		return preferences.Result{}, err
	}
	if changes.Empty() {
		return w.nothing(ctx, result(stored, changes, skipped))
	}
	res := result(changes.Next, changes, skipped)
	record, err := w.record(&res, changes)
	if err != nil {
		return preferences.Result{}, err
	}
	// The guard always holds here: one statement serves both paths.
	err = send(ctx, w.conn, append([]step{guardHead(stored, changes)}, record...)...)
	w.wrote = err == nil
	return res, err
}

// erased goes on where the list that was read is no more: whoever wants nothing
// of it has it, and needs neither a head nor a user who is alive.
func (w *write) erased(ctx context.Context, none preferences.List) (preferences.Result, error) {
	changes, _, err := w.plan(none, nil)
	if err != nil {
		return preferences.Result{}, err
	}
	if changes.Empty() {
		return w.nothing(ctx, result(none, changes, nil))
	}
	w.first = true
	return w.locked(ctx, w.undo())
}

// underLock decides about a list whose lock is held. What it adds is looked up
// once its buckets are held too; deleted entities are left out.
func (w *write) underLock(ctx context.Context, stored preferences.List) (preferences.Changes, []preferences.Entity, error) {
	changes, _, err := w.plan(stored, nil)
	if err != nil || changes.Empty() {
		return changes, nil, err
	}
	adds := guards(changes.Insert)
	if adds == nil {
		return changes, nil, nil
	}
	var dead []preferences.Entity
	adds[1].name = "tombstones"
	if err := send(ctx, w.conn, adds[0], all(adds[1], &dead, scanEntity)); err != nil || len(dead) == 0 {
		return changes, nil, err
	}
	return w.plan(stored, dead)
}

// lock begins a transaction, locks the head and reads the list. Locking and
// reading are two statements, because a statement's snapshot is taken before
// it waits. A list that never had a head gets one, unless its user is deleted.
func (w *write) lock(ctx context.Context, before []step) (preferences.List, error) {
	var stored preferences.List
	lock := []step{run("lock", w.key.UserID, w.key.Domain), w.readList(&stored)}
	if !w.first {
		err := send(ctx, w.conn, slices.Concat(before, w.begin(), lock)...)
		return stored, err
	}
	create := []step{
		bucketShared([]int64{userBucket(w.key.UserID)}), guardUser(w.key.UserID),
		run("ensure", w.key.UserID, w.key.Domain),
	}
	err := send(ctx, w.conn, slices.Concat(before, w.begin(), create, lock)...)
	return stored, userAlive(err)
}

func guardUser(id string) step {
	return run("guardlive", []string{preferences.UserType}, []string{id})
}

// userAlive names the guard that a deleted user's first write runs into.
func userAlive(err error) error {
	if refused(err, "guardlive") {
		return fault.New(fault.Denied, fault.ReasonUserDeleted, "The user has been deleted.")
	}
	return err
}

// begin opens the transaction of a write. One that happens once is in it by
// then, because its key is.
func (w *write) begin() []step {
	if w.by.Once != nil {
		return nil
	}
	if mutant.Is("repeatable-read-writer") {
		return []step{run("begin isolation level repeatable read")}
	}
	return []step{run("begin")}
}

// undo takes back what a batch did that was refused, and keeps the key.
func (w *write) undo() step {
	if w.by.Once != nil {
		return run("undo")
	}
	return run("rollback")
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
	sum.Total = l.Total()
	return preferences.Result{List: l, Summary: sum, Skipped: skipped}
}

func guardHead(stored preferences.List, c preferences.Changes) step {
	guard := run("guardhead", stored.ID, stored.Version, stored.UpdateTime, c.Next.Gaps, c.Next.UpdateTime)
	if mutant.Is("head-without-version") {
		guard = guard.edited("version = $2 and updated_at = $3", "$2::bigint >= 0 and $3::timestamptz is not null")
	}
	if mutant.Is("head-without-time") {
		guard = guard.edited("updated_at = $3", "$3::timestamptz is not null")
	}
	return guard
}
