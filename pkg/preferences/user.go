package preferences

import (
	"context"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
)

// UserDeleted takes in that a user is no more: the user's lists go with their
// history, nobody can begin one for the user again, and one event tells which
// lists there were. That is one transaction, because a user has few lists. A
// delivery that was seen before, or that a younger state has overtaken, erases
// nothing.
func (s *Service) UserDeleted(ctx context.Context, d Delivery, userID string, at time.Time) (fresh bool, err error) {
	user := Entity{Type: UserType, ID: userID}
	if err := s.setState(ctx, d, user, true, at, "event:"+d.EventID); err != nil {
		return false, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		if fresh, err = tx.Seen(ctx, d, Applied); err != nil || !fresh {
			return err
		}
		lists, erased, err := tx.EraseUser(ctx, userID)
		if err != nil || !erased {
			return err
		}
		return s.announceErased(ctx, tx, userID, lists, d.Traceparent)
	})
	return fresh, err
}

func (s *Service) announceErased(ctx context.Context, tx Tx, userID string, lists []events.ErasedList, trace string) error {
	m, err := s.announcer.Erased(userID, lists, s.now().UTC().Truncate(time.Microsecond), trace)
	if err != nil {
		return err
	}
	return tx.Emit(ctx, m)
}
