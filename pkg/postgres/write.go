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

// Write implements preferences.Store. It takes the copy that it has, or reads
// without a lock, decides, and writes in one batch that the server stops if the
// list has moved on or an entity was deleted meanwhile. What was decided on a
// copy then begins anew without it; what was decided on the list goes under the
// lock, as every first write does. A write that changes nothing takes no lock and writes nothing.
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
	store  *Store
	conn   *pgx.Conn
	key    preferences.Key
	by     preferences.By
	decide preferences.Decide
	first  bool // the list has no head yet
	wrote  bool
	before []step // the end of a guess that was refused
}

func (w *write) optimistic(ctx context.Context) (preferences.Result, error) {
	known := w.store.lists.find(w.key)
	res, done, err := w.guess(ctx, known)
	if done {
		return res, err
	}
	stored, earlier, err := w.read(ctx, known)
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
	w.key.Domain = stored.Domain
	if w.first = stored.ID == 0; w.first {
		return w.locked(ctx)
	}
	res, err = w.guarded(ctx, stored, changes)
	if overtaken(err) && w.by.Conditional {
		// The list is not what the client saw: 412 needs no lock.
		if err := send(ctx, w.conn, w.undo(), w.readList(&stored)); err != nil {
			return preferences.Result{}, err
		}
		w.store.lists.keep(stored)
		if _, err := w.decide(stored); err != nil {
			return preferences.Result{}, err
		}
		return w.locked(ctx)
	}
	if overtaken(err) {
		return w.locked(ctx, w.undo())
	}
	return res, err
}

// guess writes what is decided on the copy of the list that this process has,
// which saves the round trip that would read it. It is done unless the copy was
// not current any more. What would be refused, or would change nothing, must be
// decided on the list itself, and a write that happens once has to ask about its
// key anyway.
func (w *write) guess(ctx context.Context, known preferences.List) (res preferences.Result, done bool, err error) {
	if known.ID == 0 || w.by.Once != nil {
		return res, false, nil
	}
	changes, _, err := w.plan(known, nil)
	if err != nil || changes.Empty() {
		return res, false, nil //nolint:nilerr // that of a copy is not that of the list
	}
	w.key.Domain = known.Domain
	res, err = w.guarded(ctx, known, changes)
	if overtaken(err) {
		w.before = []step{w.undo()}
		return res, false, nil
	}
	w.store.lists.count(known, true)
	return res, true, err
}

// guarded writes what was decided on a list that has a head, if it is still that
// list.
func (w *write) guarded(ctx context.Context, stored preferences.List, changes preferences.Changes) (preferences.Result, error) {
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
	if refused(err, "guardlive") {
		return w.locked(ctx, w.undo())
	}
	w.wrote = err == nil
	return res, err
}

// read reads the list, or what the same request was answered before. Of a change
// that concerns an item alone it reads that item, unless a copy has the rest.
func (w *write) read(ctx context.Context, known preferences.List) (stored preferences.List, earlier *preferences.Answer, err error) {
	list := w.store.readList(w.key, known, &stored)
	if w.key.Alone && (known.ID == 0 || w.before != nil) {
		list = readItem(w.key.Item, w.key.UserID, &stored)
		w.store.lists.count(known, false)
		w.store.lists.drop(known)
	}
	if w.by.Once == nil {
		err = send(ctx, w.conn, append(w.before, list)...)
	} else {
		earlier, err = w.claim(ctx, list)
	}
	if err != nil || earlier != nil {
		return stored, earlier, err
	}
	w.store.lists.keep(stored)
	if stored.ID == 0 && w.key.Item != uuid.Nil {
		w.store.lists.drop(known)
		err = preferences.NotFound()
	}
	return stored, nil, err
}

// readList reads the list by its user and domain, also where the key names an
// item: the item may be gone by now, and the decision says so.
func (w *write) readList(l *preferences.List) step {
	key := preferences.Key{UserID: w.key.UserID, Domain: w.key.Domain}
	return w.store.readList(key, w.store.lists.find(key), l)
}

// locked runs at most once: under the lock nothing can move.
func (w *write) locked(ctx context.Context, before ...step) (preferences.Result, error) {
	stored, err := w.lock(ctx, before)
	if err != nil {
		return preferences.Result{}, err
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
// it waits. A list that has no head gets one, unless its user is deleted.
func (w *write) lock(ctx context.Context, before []step) (preferences.List, error) {
	var stored preferences.List
	lock := []step{run("lock", w.key.UserID, w.key.Domain), w.readList(&stored)}
	if !w.first {
		err := send(ctx, w.conn, slices.Concat(before, w.begin(), lock)...)
		if err != nil || stored.ID != 0 || w.key.Item != uuid.Nil {
			return stored, err
		}
		before = []step{w.undo()} // the list was erased since it was read
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
