package preferences

import (
	"context"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/mutant"
)

// chunk is how many lists one transaction of a clean touches.
const chunk = 1000

// Waits between passes over lists that others hold.
const (
	firstWait = time.Millisecond
	longWait  = time.Second
)

// Run carries a clean, or its undo, to its end, from wherever it stands. It can
// be stopped anywhere: what is done is committed, and whoever holds the
// operation next goes on. It calls progressed after each commit that got it
// further. Aborted means that somebody else holds the operation by now.
func (s *Service) Run(ctx context.Context, h Held, progressed func()) error {
	if h.Undoing {
		return s.undo(ctx, h, progressed)
	}
	for {
		c, err := s.next(ctx, h)
		if err != nil {
			return err
		}
		if c.Stopping {
			return s.stop(ctx, h)
		}
		end, err := s.sweep(ctx, c, progressed)
		switch {
		case err != nil:
			return err
		case end.stopping:
			return s.stop(ctx, h)
		case end.ended:
			return nil
		}
	}
}

// next is the entity that the operation has to deal with now.
func (s *Service) next(ctx context.Context, h Held) (c Clean, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		c, err = tx.NextClean(ctx, h)
		return err
	})
	return c, err
}

// sweep takes one entity out of every list.
func (s *Service) sweep(ctx context.Context, c Clean, progressed func()) (step, error) {
	if !c.StateAt.IsZero() {
		if err := s.store.SetState(ctx, State{Entity: c.Entity, Deleted: true, At: c.StateAt, Source: c.Cause, Held: c.Held}); err != nil {
			return step{}, err
		}
	}
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		did, err := s.pass(ctx, &c, progressed)
		if err != nil || did.done || did.stopping {
			return did, err
		}
		if did.progress {
			wait = firstWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return step{}, ctx.Err()
		case <-timer.C:
		}
	}
}

// pass goes once over the lists that hold the entity.
func (s *Service) pass(ctx context.Context, c *Clean, progressed func()) (step, error) {
	first, err := s.commit(ctx, c, progressed, func(ctx context.Context, tx Tx, c *Clean) (step, error) { return s.attempt(ctx, tx, c) })
	if err != nil || first.done || first.stopping {
		return first, err
	}
	for lists := range slices.Chunk(first.rest, chunk) {
		next, err := s.commit(ctx, c, progressed, func(ctx context.Context, tx Tx, c *Clean) (step, error) {
			return s.cleanChunk(ctx, tx, c, lists)
		})
		if err != nil || next.stopping {
			return next, err
		}
		first.progress = first.progress || next.progress
	}
	return first, nil
}

// stop ends an operation that was cancelled. What it has removed stays removed
// until somebody undoes it; the final part of the entity that it was at says
// that not every list was reached.
func (s *Service) stop(ctx context.Context, h Held) error {
	return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		c, found, err := tx.LockClean(ctx, h)
		if err != nil {
			return err
		}
		if found && c.Begun {
			if err := s.breakOff(ctx, tx, &c, Cancelled, nil); err != nil {
				return err
			}
		}
		return tx.EndOperation(ctx, h, Cancelled, nil)
	})
}

// GiveUp ends the work on an entity that fails again and again; ended says that
// the operation has no other. What it has not reached stays in its lists, and
// the final part says so. Aborted means that somebody else holds the operation
// by now.
func (s *Service) GiveUp(ctx context.Context, h Held, cause error) (ended bool, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if h.Undoing {
			ended = true
			return tx.EndOperation(ctx, h, Failed, cause)
		}
		// The owner may have missed the answer to a commit: what is stored counts the parts.
		c, found, err := tx.LockClean(ctx, h)
		if err != nil {
			return err
		}
		if found {
			if err := s.breakOff(ctx, tx, &c, Failed, cause); err != nil {
				return err
			}
		}
		if ended, err = tx.AllEnded(ctx, h); err != nil || !ended {
			return err
		}
		return tx.EndOperation(ctx, h, Failed, cause)
	})
	return ended, err
}

// breakOff ends the work on an entity before its end.
func (s *Service) breakOff(ctx context.Context, tx Tx, c *Clean, state OperationState, cause error) error {
	if err := s.announce(ctx, tx, c, nil, Incomplete); err != nil {
		return err
	}
	return tx.EndClean(ctx, *c, state, cause)
}

// step is what one transaction of a clean has come to.
type step struct {
	rest     []int64 // lists that are left, where there are more than one chunk holds
	progress bool    // something was cleaned
	done     bool    // the entity is dealt with
	ended    bool    // and so is the whole operation
	stopping bool    // the operation was cancelled
}

// commit runs one step in its own transaction. The clean moves on only with
// the commit.
func (s *Service) commit(ctx context.Context, c *Clean, progressed func(), fn func(context.Context, Tx, *Clean) (step, error)) (step, error) {
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
	if *c = next; did.progress {
		progressed()
	}
	return did, nil
}

// attempt finishes a clean whose lists fit one transaction, if none of them is
// held by somebody else. Only here a clean ends: its last look at the lists and
// its final event share a commit. That of a large one holds no list, because it
// counts for long what the clean has done.
func (s *Service) attempt(ctx context.Context, tx Tx, c *Clean) (step, error) {
	lists, err := tx.Victims(ctx, c.Entity)
	if err != nil {
		return step{}, err
	}
	c.Total = max(c.Total, c.Before+c.Deleted+int64(len(lists)))
	if len(lists) > chunk {
		stopping, err := tx.SaveClean(ctx, *c)
		return step{rest: lists, stopping: stopping}, err
	}
	touched, busy, err := tx.CleanLists(ctx, *c, lists)
	if err != nil {
		return step{}, err
	}
	if large := c.Before+c.Deleted > chunk; busy > 0 || large && len(touched) > 0 {
		return s.part(ctx, tx, c, touched)
	}
	announce := s.announce
	if mutant.Is("final-part-apart") {
		announce = s.announceApart
	}
	if err := announce(ctx, tx, c, touched, Complete); err != nil {
		return step{}, err
	}
	return s.finish(ctx, tx, c)
}

// finish ends a clean that reached every list, and with its last entity the
// operation.
func (s *Service) finish(ctx context.Context, tx Tx, c *Clean) (step, error) {
	did := step{progress: true, done: true}
	err := tx.EndClean(ctx, *c, Succeeded, nil)
	if err == nil {
		did.ended, err = tx.AllEnded(ctx, c.Held)
	}
	if err != nil {
		return step{}, err
	}
	if did.ended {
		return did, tx.EndOperation(ctx, c.Held, Succeeded, nil)
	}
	did.stopping, err = tx.SaveClean(ctx, *c)
	return did, err
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
	stopping, err := tx.SaveClean(ctx, *c)
	return step{progress: len(touched) > 0, stopping: stopping}, err
}

func (s *Service) announce(ctx context.Context, tx Tx, c *Clean, touched []events.TouchedList, end Ending) error {
	if mutant.Is("users-from-memory") {
		touched = remembered(c, touched, end)
	}
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
