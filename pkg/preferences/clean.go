package preferences

import (
	"context"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
)

// chunk is how many lists one transaction of a clean touches.
const chunk = 1000

// maxClockLead is how far ahead of us an owner's clock may be. A state from
// further ahead would win over everything that happens until then.
const maxClockLead = 5 * time.Minute

// EntityDeleted takes in that an owner deleted an entity: from then on nobody
// can add it, and it leaves every list. A small clean is done at once; one of
// many lists, or that meets a list that is being written, stays open for the
// runner, and open is true. A delivery that was seen before changes nothing.
func (s *Service) EntityDeleted(ctx context.Context, d Delivery, e Entity, at time.Time) (fresh, open bool, err error) {
	source := "event:" + d.EventID
	if err := s.setState(ctx, d, e, true, at, source); err != nil {
		return false, false, err
	}
	c := Clean{ID: NewID(), Entity: e, Cause: source, Actor: source, Reorder: true}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		fresh, open = false, false
		var err error
		if fresh, err = tx.Seen(ctx, d, Applied); err != nil || !fresh {
			return err
		}
		if err := tx.OpenClean(ctx, c); err != nil {
			return err
		}
		tried := c
		step, err := s.attempt(ctx, tx, &tried)
		open = !step.done
		return err
	})
	return fresh, open, err
}

// EntityRestored takes in that an entity exists (again): it can be added to
// lists, or, if it is a user, have some. What was removed stays removed.
func (s *Service) EntityRestored(ctx context.Context, d Delivery, e Entity, at time.Time) (fresh bool, err error) {
	if err := s.setState(ctx, d, e, false, at, "event:"+d.EventID); err != nil {
		return false, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		fresh, err = tx.Seen(ctx, d, Applied)
		return err
	})
	return fresh, err
}

func (s *Service) setState(ctx context.Context, d Delivery, e Entity, deleted bool, at time.Time, source string) error {
	check := checkEntityID
	if e.Type == UserType {
		check = checkUserID
	}
	if why := check(e.ID); why != "" {
		return fault.New(fault.Invalid, fault.ReasonInvalidField, "The entity's id %s.", why)
	}
	if at.After(s.now().Add(maxClockLead)) {
		return fault.New(fault.Invalid, fault.ReasonInvalidField, "The event's time is more than %s ahead.", maxClockLead)
	}
	return s.store.SetState(ctx, State{Entity: e, Deleted: deleted, At: at, Source: source, Delivery: d})
}

// Cleaned is what a clean did.
type Cleaned struct {
	Deleted       int64
	AffectedUsers []string // sorted, each once
}

// CleanOrphaned is an operator's deletion of an entity, carried to its end.
// A caller that goes away leaves the rest to the runner.
func (s *Service) CleanOrphaned(ctx context.Context, by By, e Entity, reorder bool) (Cleaned, error) {
	if err := s.CheckClean(e); err != nil {
		return Cleaned{}, err
	}
	once, err := by.Once.of(ActionClean, e, reorder)
	if err != nil {
		return Cleaned{}, err
	}
	by.Once = once
	id := NewID()
	c := Clean{
		ID: id, Entity: e, Cause: "operation:" + id.String(), Actor: by.Actor, Reorder: reorder,
		Owner: "request:" + by.RequestID, Lease: requestLease,
	}
	earlier, done, err := s.openClean(ctx, by, &c)
	if err != nil || done {
		return earlier, err
	}
	out := Cleaned{AffectedUsers: []string{}}
	err = s.Sweep(ctx, c, func(touched []events.TouchedList) {
		out.Deleted += int64(len(touched))
		out.AffectedUsers = append(out.AffectedUsers, usersOf(touched)...)
	})
	slices.Sort(out.AffectedUsers)
	out.AffectedUsers = slices.Compact(out.AffectedUsers)
	return out, err
}

// openClean makes the operation of a request, which is what makes it certain
// that it will be done: a key is kept with it. A request that was done before
// opens nothing.
func (s *Service) openClean(ctx context.Context, by By, c *Clean) (earlier Cleaned, done bool, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		if by.Once != nil {
			if earlier, done, err = tx.Repeated(ctx, by); err != nil || done {
				return err
			}
			if err := tx.KeepClean(ctx, by, c.ID); err != nil {
				return err
			}
		}
		if c.StateAt, err = tx.StateTime(ctx, c.Entity); err != nil {
			return err
		}
		return tx.OpenClean(ctx, *c)
	})
	return earlier, done, err
}

// requestLease is how long a request that cleans may be silent before the
// runner takes its clean over.
const requestLease = 15 * time.Second

// Waits between passes over lists that others hold.
const (
	firstWait = time.Millisecond
	longWait  = time.Second
)

// Sweep carries a clean to its end, from wherever it stands. It can be stopped
// anywhere: what is done is committed, and whoever owns the clean next goes on.
// Aborted means that somebody else owns it by now.
func (s *Service) Sweep(ctx context.Context, c Clean, onTouched func([]events.TouchedList)) error {
	if !c.StateAt.IsZero() {
		if err := s.store.SetState(ctx, State{Entity: c.Entity, Deleted: true, At: c.StateAt, Source: c.Cause}); err != nil {
			return err
		}
	}
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		step, err := s.pass(ctx, &c, onTouched)
		if err != nil || step.done {
			return err
		}
		if step.progress {
			wait = firstWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// pass goes once over the lists that hold the entity.
func (s *Service) pass(ctx context.Context, c *Clean, onTouched func([]events.TouchedList)) (step, error) {
	first, err := s.commit(ctx, c, onTouched, func(ctx context.Context, tx Tx, c *Clean) (step, error) { return s.attempt(ctx, tx, c) })
	if err != nil || first.done {
		return first, err
	}
	for lists := range slices.Chunk(first.rest, chunk) {
		next, err := s.commit(ctx, c, onTouched, func(ctx context.Context, tx Tx, c *Clean) (step, error) {
			return s.cleanChunk(ctx, tx, c, lists)
		})
		if err != nil {
			return step{}, err
		}
		first.progress = first.progress || next.progress
	}
	return first, nil
}

// GiveUp ends a clean that fails again and again. What it has not reached stays
// in its lists, and the final part says so. Aborted means that somebody else
// owns the clean by now.
func (s *Service) GiveUp(ctx context.Context, c Clean, cause error) error {
	return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		// The owner may have missed the answer to a commit: what is stored counts the parts.
		stored, err := tx.LockClean(ctx, c)
		if err != nil {
			return err
		}
		if err := s.announce(ctx, tx, &stored, nil, Incomplete); err != nil {
			return err
		}
		return tx.FailClean(ctx, stored, cause)
	})
}

// step is what one transaction of a clean has come to.
type step struct {
	touched  []events.TouchedList
	rest     []int64 // lists that are left, where there are more than one chunk holds
	progress bool    // something was cleaned
	done     bool    // the clean is finished
}

// commit runs one step in its own transaction. The clean moves on only with
// the commit.
func (s *Service) commit(ctx context.Context, c *Clean, onTouched func([]events.TouchedList), fn func(context.Context, Tx, *Clean) (step, error)) (step, error) {
	var did step
	var next Clean
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		next = *c
		did, err = fn(ctx, tx, &next)
		return err
	})
	if err != nil {
		return step{}, err
	}
	*c = next
	onTouched(did.touched)
	return did, nil
}

// attempt finishes a clean whose lists fit one transaction, if none of them is
// held by somebody else. Only here a clean ends: its last look at the lists and
// its final event share a commit.
func (s *Service) attempt(ctx context.Context, tx Tx, c *Clean) (step, error) {
	lists, err := tx.Victims(ctx, c.Entity)
	if err != nil {
		return step{}, err
	}
	c.Total = max(c.Total, c.Deleted+int64(len(lists)))
	if len(lists) > chunk {
		return step{rest: lists}, tx.SaveClean(ctx, *c)
	}
	touched, busy, err := tx.CleanLists(ctx, *c, lists)
	if err != nil {
		return step{}, err
	}
	if busy > 0 {
		return s.part(ctx, tx, c, touched)
	}
	if err := s.announce(ctx, tx, c, touched, Complete); err != nil {
		return step{}, err
	}
	return step{touched: touched, progress: true, done: true}, tx.FinishClean(ctx, *c)
}

func (s *Service) cleanChunk(ctx context.Context, tx Tx, c *Clean, lists []int64) (step, error) {
	touched, _, err := tx.CleanLists(ctx, *c, lists)
	if err != nil {
		return step{}, err
	}
	return s.part(ctx, tx, c, touched)
}

// part announces what was cleaned, if anything, and saves how far the clean is.
func (s *Service) part(ctx context.Context, tx Tx, c *Clean, touched []events.TouchedList) (step, error) {
	if len(touched) > 0 {
		if err := s.announce(ctx, tx, c, touched, Underway); err != nil {
			return step{}, err
		}
	}
	return step{touched: touched, progress: len(touched) > 0}, tx.SaveClean(ctx, *c)
}

func (s *Service) announce(ctx context.Context, tx Tx, c *Clean, touched []events.TouchedList, end Ending) error {
	messages, err := s.announcer.Cleaned(c, touched, end, s.now().UTC().Truncate(time.Microsecond))
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := tx.Emit(ctx, m); err != nil {
			return err
		}
	}
	return nil
}
