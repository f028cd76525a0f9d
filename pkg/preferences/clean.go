package preferences

import (
	"context"
	"time"

	"github.com/prefsd/prefsd/pkg/fault"
)

// maxClockLead is how far ahead of the store's clock an owner's may be. A state
// from further ahead would win over everything that happens until then. Our own
// clock has no say: one that is slow would make poison of every event.
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
	c := Cleaning{
		Held:    Held{ID: NewID(), Kind: KindClean, Cause: source, Actor: source, Traceparent: d.Traceparent},
		Targets: []Target{{Entity: e}}, Reorder: true,
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		fresh, open = false, false
		var err error
		if fresh, err = tx.Seen(ctx, d, Applied); err != nil || !fresh {
			return err
		}
		if err := tx.OpenClean(ctx, c); err != nil {
			return err
		}
		tried := c.clean(0)
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
	return s.store.SetState(ctx, State{Entity: e, Deleted: deleted, At: at, Source: source, Delivery: d, Lead: maxClockLead})
}
