package preferences

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
)

// What a clean would do that announces its end beside its work, or keeps in
// memory whom it has touched. No suite may let them pass.

// announceApart announces in a transaction of its own.
func (s *Service) announceApart(ctx context.Context, _ Tx, c *Clean, touched []events.TouchedList, end Ending) error {
	return s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return s.announce(ctx, tx, c, touched, end) })
}

// memory is what cleans have touched and not announced.
var memory struct {
	sync.Mutex
	touched map[holder][]events.TouchedList
}

// holder is a process that had the operation in its hands.
type holder struct {
	operation uuid.UUID
	epoch     int64
}

// remembered announces nobody before the end, and everybody then.
func remembered(c *Clean, touched []events.TouchedList, end Ending) []events.TouchedList {
	memory.Lock()
	defer memory.Unlock()
	if memory.touched == nil {
		memory.touched = map[holder][]events.TouchedList{}
	}
	us := holder{c.ID, c.Epoch}
	all := slices.Concat(memory.touched[us], touched)
	memory.touched[us] = all
	if end == Underway {
		return nil
	}
	return all
}
