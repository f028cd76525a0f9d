package preferences

import (
	"context"
	"slices"
)

// Removal is a version of a list in which a clean took an item away.
type Removal struct {
	Version  int64
	WereGaps bool // readers saw gaps in the version before
	Delta    Delta
}

// undo takes back what a clean did. The entities count as there again, unless
// somebody else has said more about them since. Then each list gets its items
// back, one transaction for each.
func (s *Service) undo(ctx context.Context, h Held, progressed func()) error {
	var entities []Entity
	var lists []int64
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) (err error) {
		entities, lists, err = tx.Touched(ctx, h)
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range entities {
		if err := s.store.LiftState(ctx, e, h.Cause, "operation:"+h.ID.String()); err != nil {
			return err
		}
	}
	by := By{Action: ActionRestore, Actor: "operation:" + h.ID.String(), Operation: h.ID, Traceparent: h.Traceparent}
	for _, list := range lists {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return tx.PutBack(ctx, h, by, list) }); err != nil {
			return err
		}
		progressed()
	}
	return s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return tx.EndOperation(ctx, h, Compensated, nil) })
}

// PutBack is the list with the removed items where they were; removals are
// those of one operation, newest first. As long as nobody has changed the list
// since, it becomes what it was. Otherwise what others did stays, and an item
// stands as near to its old place as there is room. One that the list holds
// again is left as it is.
func (l List) PutBack(removals []Removal) []Wanted {
	held := make(map[Entity]bool, len(l.Items))
	for _, it := range l.Items {
		held[it.Entity()] = true
	}
	version, records := l.Version, l.Records()
	for _, r := range removals {
		back := r.Delta.Back()
		back.Added = slices.DeleteFunc(slices.Clone(back.Added), func(x Record) bool { return held[Entity{x.EntityType, x.EntityID}] })
		untouched := r.Version == version
		if !untouched {
			back.Updated = nil // numbers of then mean nothing any more
		}
		version--
		records = Replay(records, back, untouched && r.WereGaps)
	}
	return wantedAgain(records)
}
