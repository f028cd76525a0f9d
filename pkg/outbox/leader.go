package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/mutant"
)

// errLapsed says that the lease could not be renewed in time.
var errLapsed = errors.New("the lease ran out before it was renewed")

// errYielded says that the lease was given back, because the broker has not
// answered for long: another process may have a better connection to it.
var errYielded = errors.New("the lease was given back, because the broker does not answer")

// leader works the outbox off during one term. One goroutine owns it and the
// term's connection: it reads, saves and decides, while deliveries run beside
// it and come back through a channel. Only a page of a backlog is read ahead
// beside it, when it does not use the connection.
type leader struct {
	r     *Relay
	term  Term
	epoch int64
	at    Cursor // how far rows were read
	win   *window
	pace  pace

	ledger ledger
	lanes  lanes
	known  map[Place]uuid.UUID // published by the term before this one

	deadline time.Time // until then the lease is ours for certain
	lastSave time.Time
	stopBy   time.Time // once it stops: how long deliveries may take

	nextRead time.Time
	poked    bool
	reads    int       // numbers them
	fresh    int       // deliveries of the last read that are under way
	patience time.Time // the next read waits for those, but not longer

	wishes Wishes // of operators, as of the last save

	publishing context.Context // ends when deliveries must
	cut        context.CancelFunc
	deliveries chan delivery
	underway   int
	answered   time.Time // when the broker last spoke
	downSince  time.Time // when it began not to, or zero
}

// delivery is a part of a lane's rows on its way to the broker and back.
type delivery struct {
	lane  *lane
	items []item
	read  int // its number, or 0 for rows that waited
	began time.Time
	errs  []error
}

// claim begins a term.
func (r *Relay) claim(ctx context.Context) (*leader, error) {
	asking, cancel := context.WithTimeout(ctx, certain(r.cfg.Lease))
	defer cancel()
	before := time.Now()
	term, err := r.source.Claim(asking, r.cfg.Owner, r.cfg.Lease)
	if err != nil {
		return nil, err
	}
	l := &leader{
		r: r, term: term, lanes: newLanes(), deliveries: make(chan delivery),
		lastSave: before, deadline: before.Add(certain(r.cfg.Lease)),
	}
	l.publishing, l.cut = context.WithCancel(context.WithoutCancel(ctx))
	l.at, l.epoch = term.Start()
	l.ledger.cursor, l.ledger.stored = l.at, l.at
	if l.epoch == r.unsaved.epoch+1 {
		l.known = make(map[Place]uuid.UUID, len(r.unsaved.rows))
		for _, row := range r.unsaved.rows {
			l.known[row.Place] = row.event
		}
	}
	r.unsaved = unsaved{}
	crashpoint.Hit("relay.claimed")
	return l, nil
}

// recall says whether the term before this one has published a row without
// storing that. It says so once. A row that is replayed, or released from the
// quarantine, has another place.
func (l *leader) recall(at Place) bool {
	if _, ok := l.known[at]; !ok {
		return false
	}
	delete(l.known, at)
	return true
}

// certain is the part of a lease during which its holder may act. The rest
// covers clocks that run at different speeds and requests under way.
func certain(lease time.Duration) time.Duration { return lease * 3 / 4 }

// lead does whatever is due next until the term ends.
func (l *leader) lead(ctx context.Context) error {
	db := context.WithoutCancel(ctx) // what is begun is finished; the deadline bounds it
	if l.at.Window != "" {
		l.openWindow(db, l.at)
	}
	for {
		l.r.report(l)
		if err := l.step(ctx, db, time.Now()); err != nil {
			return err
		}
	}
}

// errReleased ends a term as it should.
var errReleased = errors.New("released")

// errPaused ends a term because an operator wants nothing to be published.
var errPaused = errors.New("paused by an operator")

// stopping says why the term is to end in good order, or nil.
func (l *leader) stopping(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return errReleased
	case l.wishes.Pause:
		return errPaused
	}
	return nil
}

func (l *leader) step(ctx, db context.Context, now time.Time) error {
	stopping := l.stopping(ctx)
	switch {
	case due(l.deadline, now):
		return errLapsed
	case stopping != nil && l.underway == 0:
		return l.release(db, stopping)
	case due(l.saveAt(), now):
		return l.save(db)
	}
	// What came back while something else took its time is taken in first: no
	// partition counts as slow because we were.
	select {
	case d := <-l.deliveries:
		return l.settle(db, d)
	default:
	}
	switch {
	case stopping != nil:
		l.drain(now)
	case l.yields(now):
		return l.release(db, errYielded)
	case l.wishes.Decisions && l.win == nil:
		return l.decide(db)
	case due(l.resumeAt(), now):
		return l.resume(db, l.lanes.next())
	case due(l.readAt(), now):
		return l.read(db)
	}
	return l.wait(ctx, db, now)
}

// drain gives deliveries a while to finish, then cuts them short.
func (l *leader) drain(now time.Time) {
	switch {
	case l.stopBy.IsZero():
		l.stopBy = now.Add(l.r.cfg.DrainFor)
	case due(l.stopBy, now):
		l.cut()
		l.stopBy = never
	}
}

// turn returns the term once its connection is free: a page of a backlog may be
// on its way over it.
func (l *leader) turn() Term {
	l.win.land()
	return l.term
}

// never is later than anything.
var never = time.Unix(1<<40, 0)

func due(at, now time.Time) bool { return !now.Before(at) }

// saveAt is when the cursor has to be stored and the lease renewed.
func (l *leader) saveAt() time.Time {
	if l.ledger.moved {
		return l.lastSave.Add(l.r.cfg.SaveEvery)
	}
	return l.lastSave.Add(l.r.cfg.RenewEvery)
}

// resumeAt is when the first of the waiting lanes may try again.
func (l *leader) resumeAt() time.Time {
	if ln := l.lanes.next(); ln != nil {
		return ln.due
	}
	return never
}

// readAt is when the outbox may be read.
func (l *leader) readAt() time.Time {
	at := l.nextRead
	switch {
	case l.ledger.rows >= l.r.cfg.Ahead: // until the oldest are settled
		return never
	case l.win != nil && !l.win.ready():
		return never
	case l.poked && !l.pace.busy:
		at = time.Time{}
	}
	if l.fresh > 0 && at.Before(l.patience) {
		return l.patience
	}
	return at
}

// yields says whether the broker has been silent for so long that somebody else
// should try.
func (l *leader) yields(now time.Time) bool {
	return !l.downSince.IsZero() && l.underway == 0 && now.Sub(l.downSince) >= l.r.cfg.YieldAfter
}

// wait sleeps until something is due or happens.
func (l *leader) wait(ctx, db context.Context, now time.Time) error {
	next := earliest(l.saveAt(), l.deadline)
	done, poke := ctx.Done(), l.r.poke
	if l.stopping(ctx) == nil {
		next = earliest(next, l.resumeAt(), l.readAt())
	} else {
		next = earliest(next, l.stopBy)
	}
	if ctx.Err() != nil {
		done = nil
	}
	if l.poked {
		poke = nil
	}
	timer := time.NewTimer(next.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-poke:
		l.poked = true
	case m := <-l.win.awaited():
		l.win.take(m)
	case d := <-l.deliveries:
		return l.settle(db, d)
	}
	return nil
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// save stores the cursor and renews the lease. The renewal counts from before
// it was sent.
func (l *leader) save(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	before := time.Now()
	settled := l.ledger.cursor
	if mutant.Is("marked-before-ack") {
		settled = l.at
	}
	crashpoint.Hit("position.saving")
	wishes, err := l.turn().Save(ctx, settled, l.r.cfg.Lease)
	switch {
	case err != nil && due(l.deadline, time.Now()):
		return fmt.Errorf("%w: %w", errLapsed, err)
	case err != nil:
		return err
	}
	l.deadline = before.Add(certain(l.r.cfg.Lease))
	l.lastSave = time.Now() // not before: saves that take longer than their interval would leave time for nothing else
	l.ledger.saved()
	l.wishes = wishes
	crashpoint.Hit("position.saved")
	return nil
}

// release stores the cursor and lets the next relay begin at once.
func (l *leader) release(ctx context.Context, why error) error {
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	crashpoint.Hit("lease.releasing")
	if err := l.turn().Release(ctx, l.ledger.cursor); err != nil {
		return err
	}
	l.ledger.saved()
	crashpoint.Hit("lease.released")
	return why
}

// end takes in the deliveries that are still under way. They may finish as long
// as the lease is certainly ours; else they are cut short. What was published
// but not saved is remembered.
func (l *leader) end(ctx context.Context, cause error) {
	fenced := errors.Is(cause, ErrFenced)
	if fenced {
		l.cut()
	}
	if l.win != nil {
		l.win.close()
	}
	lapse := time.NewTimer(time.Until(l.deadline))
	defer lapse.Stop()
	for l.underway > 0 {
		select {
		case d := <-l.deliveries:
			l.underway--
			l.acknowledge(ctx, d)
		case <-lapse.C:
			l.cut()
		}
	}
	l.cut()
	l.term.Close()
	l.remember(fenced)
}
