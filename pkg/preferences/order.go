package preferences

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Cleans that operators order.

// targets is the member of a request that holds the entities of a bulk clean.
const targets = "entities"

// MaxInline is how many entities a caller may wait for; more are an operation
// that it looks after.
const MaxInline = 50

// Cleaned is what a clean of one entity did.
type Cleaned struct {
	Deleted       int64
	AffectedUsers []string // sorted, each once
	// Ongoing is set instead where it takes longer than a caller can wait, or
	// somebody cancelled it.
	Ongoing *Operation
}

// CleanOrphaned is an operator's deletion of an entity. A caller that goes away,
// or would have to wait too long, leaves the rest to the runner.
func (s *Service) CleanOrphaned(ctx context.Context, by By, e Entity, reorder bool) (Cleaned, error) {
	if err := s.CheckClean(e); err != nil {
		return Cleaned{}, err
	}
	once, err := by.Once.of(ActionClean, e, reorder)
	if err != nil {
		return Cleaned{}, err
	}
	by.Once = once
	o, err := s.carryOut(ctx, by, Cleaning{Held: Held{Kind: KindClean}, Targets: []Target{{Entity: e}}, Reorder: reorder})
	if err != nil {
		return Cleaned{}, err
	}
	if o.State != Succeeded {
		return Cleaned{Ongoing: &o}, nil
	}
	users, err := s.store.CleanedUsers(ctx, o.ID)
	return Cleaned{Deleted: o.Cleaned.Deleted, AffectedUsers: users}, err
}

// BulkClean is an operator's deletion of many entities; those named twice are
// cleaned once. Few of them are cleaned while the caller waits, unless it does
// not want to; then, and if they are more, the operation that is returned is
// still open.
func (s *Service) BulkClean(ctx context.Context, by By, entities []Entity, reorder, deferred bool) (Operation, error) {
	if err := s.CheckBulkClean(entities); err != nil {
		return Operation{}, err
	}
	c := Cleaning{Held: Held{Kind: KindBulkClean}, Reorder: reorder}
	known := make(map[Entity]bool, len(entities))
	for _, e := range entities {
		if !known[e] {
			known[e], c.Targets = true, append(c.Targets, Target{Entity: e})
		}
	}
	c.Deferred = deferred || len(c.Targets) > MaxInline
	once, err := by.Once.of(c.Kind, c.Targets, reorder, deferred)
	if err != nil {
		return Operation{}, err
	}
	by.Once = once
	return s.carryOut(ctx, by, c)
}

// CheckBulkClean says all that is wrong with entities to clean.
func (s *Service) CheckBulkClean(entities []Entity) error {
	v := violations{at: alone}
	switch {
	case len(entities) == 0:
		v.add(fault.ReasonInvalidField, targets, "must hold at least one entity")
	case len(entities) > MaxItems:
		v.add(fault.ReasonTooManyItems, targets, fmt.Sprintf("must hold at most %d entities", MaxItems))
	}
	if err := v.err(); err != nil {
		return err
	}
	wrong, unknown := violations{of: targets}, violations{of: targets}
	for i, e := range entities {
		wrong.at, unknown.at = i, i
		if why := checkEntityID(e.ID); why != "" {
			wrong.add(fault.ReasonInvalidField, "entityId", why)
		}
		if !s.domains.HasEntityType(e.Type) {
			unknown.add(fault.ReasonUnknownEntityType, "entityType", "must be the entity type of a configured domain")
		}
	}
	if err := wrong.err(); err != nil || len(unknown.all) == 0 {
		return err
	}
	return unknownEntityType(unknown.all...)
}

// requestLease is how long a request that cleans may be silent before the
// runner takes its clean over.
const requestLease = 15 * time.Second

// carryOut makes the operation that a request asks for, and works on it while
// the request waits. A request that was made before gets the operation of then.
func (s *Service) carryOut(ctx context.Context, by By, c Cleaning) (Operation, error) {
	c.ID = NewID()
	c.Cause, c.Actor, c.Traceparent = "operation:"+c.ID.String(), by.Actor, by.Traceparent
	if !c.Deferred {
		c.Owner, c.Lease = "request:"+by.RequestID, requestLease
	}
	earlier, err := s.openCleaning(ctx, by, &c)
	if err != nil {
		return Operation{}, err
	}
	if earlier != uuid.Nil {
		return s.store.Operation(ctx, earlier)
	}
	if !c.Deferred {
		if err := s.waitFor(ctx, c.Held); err != nil {
			return Operation{}, err
		}
	}
	return s.store.Operation(ctx, c.ID)
}

// openCleaning makes the operation of a request, which is what makes it certain
// that it will be done: a key is kept with it.
func (s *Service) openCleaning(ctx context.Context, by By, c *Cleaning) (earlier uuid.UUID, err error) {
	entities := make([]Entity, len(c.Targets))
	for i, t := range c.Targets {
		entities[i] = t.Entity
	}
	if c.Total, err = s.store.Holders(ctx, entities...); err != nil {
		return uuid.Nil, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var err error
		if earlier, err = tx.Repeated(ctx, by); err != nil || earlier != uuid.Nil {
			return err
		}
		if err := tx.KeepOperation(ctx, by, c.ID); err != nil {
			return err
		}
		times, err := tx.StateTimes(ctx, entities)
		if err != nil {
			return err
		}
		for i := range c.Targets {
			c.Targets[i].StateAt = times[i]
		}
		return tx.OpenClean(ctx, *c)
	})
	return earlier, err
}

// waitFor works on an operation for as long as its caller may wait. What is left
// then goes to the runner.
func (s *Service) waitFor(ctx context.Context, h Held) error {
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	err := s.Run(waiting, h, func() {})
	switch {
	case err == nil, fault.CodeOf(err) == fault.Aborted: // it ended, or a runner has it
		return nil
	case waiting.Err() == nil:
		return err // the lease runs out, and a runner goes on
	}
	told := ctx.Err() == nil // else it has left
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), handOverWithin)
	defer cancel()
	return s.store.HandOver(ctx, h, told)
}

// handOverWithin bounds the last word of a request on its operation.
const handOverWithin = 2 * time.Second
