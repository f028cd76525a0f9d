package preferences

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
)

// ItemPatch is one change of a batch.
type ItemPatch struct {
	ID         string
	Attributes json.RawMessage // a JSON merge patch; nil: stay
	Order      *int            // the rank that the item has afterwards; nil: it goes where the others leave room
	ETag       string          // a condition on the item, spelled as in If-Match; empty: none
}

// updates is the member of a request that holds the changes of a batch.
const updates = "updates"

// batch is a checked batch of changes.
type batch struct {
	terms      Terms
	patches    []ItemPatch
	ids        []uuid.UUID
	conditions []precondition.Conditions
}

// CheckBatch says all that is wrong with a batch of changes, whatever the list
// holds.
func (s *Service) CheckBatch(domain string, patches []ItemPatch) error {
	_, err := s.batchOf(domain, patches)
	return err
}

// UpdateBatch changes several items of a list, all or none.
func (s *Service) UpdateBatch(ctx context.Context, userID, domain string, by By, terms Terms, patches []ItemPatch) (Result, error) {
	b, err := s.batchOf(domain, patches)
	if err != nil {
		return Result{}, err
	}
	by, b.terms, err = s.admit(by, ActionUpdate, terms, domain, b.meaning())
	if err != nil {
		return Result{}, err
	}
	if b.guarded() {
		b.terms.required = false
	}
	by.Conditional = by.Conditional || !terms.Force && b.conditioned()
	return s.store.Write(ctx, Key{UserID: userID, Domain: domain}, by, b.decide)
}

func (s *Service) batchOf(domain string, patches []ItemPatch) (batch, error) {
	_, unknown := s.domains.Find(domain)
	b := batch{patches: patches, ids: make([]uuid.UUID, len(patches)), conditions: make([]precondition.Conditions, len(patches))}
	v := violations{of: updates}
	if len(patches) == 0 || len(patches) > MaxItems {
		v.at = alone
		v.add(fault.ReasonInvalidField, updates, fmt.Sprintf("must hold 1 to %d changes", MaxItems))
		return b, fault.Join(unknown, v.err())
	}
	ids, orders := make(map[uuid.UUID]int, len(patches)), make(map[int]int, len(patches))
	for i, p := range patches {
		v.at = i
		b.ids[i], b.conditions[i] = v.patch(p)
		if first, twice := ids[b.ids[i]]; twice && b.ids[i] != uuid.Nil {
			v.add(fault.ReasonDuplicateEntity, "id", fmt.Sprintf("repeats %s[%d].id; an item stands in a batch once", updates, first))
		} else {
			ids[b.ids[i]] = i
		}
		v.distinct(p.Order, orders)
	}
	return b, fault.Join(unknown, v.err())
}

// patch checks what can be said about one change alone.
func (v *violations) patch(p ItemPatch) (uuid.UUID, precondition.Conditions) {
	id, err := uuid.Parse(p.ID)
	if err != nil || id.String() != p.ID {
		v.add(fault.ReasonInvalidField, "id", "must be the id of an item: a UUID in lower case")
		id = uuid.Nil
	}
	v.order(p.Order)
	if p.Attributes != nil {
		if _, why := checkAttributes(p.Attributes); why != "" {
			v.add(fault.ReasonInvalidField, "attributes", why)
		}
	}
	conditions, err := precondition.Parse([]string{p.ETag}, nil)
	if err != nil {
		v.add(fault.ReasonMalformedCondition, "etag", "must be a tag, as an item has it")
	}
	return id, conditions
}

// meaning is what the batch does, its conditions aside.
func (b batch) meaning() []any {
	out := make([]any, 0, 3*len(b.patches))
	for i, p := range b.patches {
		attributes := p.Attributes
		if attributes != nil {
			attributes = spelled(attributes)
		}
		out = append(out, b.ids[i], p.Order, attributes)
	}
	return out
}

// guarded says that every change has a condition of its own.
func (b batch) guarded() bool {
	for _, c := range b.conditions {
		if c.Empty() {
			return false
		}
	}
	return true
}

// conditioned says that a change has a condition of its own.
func (b batch) conditioned() bool {
	for _, c := range b.conditions {
		if !c.Empty() {
			return true
		}
	}
	return false
}

func (b batch) decide(stored List) ([]Wanted, error) {
	places, err := b.places(stored)
	if err != nil {
		return nil, err
	}
	if err := b.judge(stored, places); err != nil {
		return nil, err
	}
	wanted := stored.Wanted()
	if err := b.merge(stored, places, wanted); err != nil {
		return nil, err
	}
	return b.move(places, wanted), nil
}

// places finds the items, and refuses orders outside the list.
func (b batch) places(stored List) ([]int, error) {
	known := make(map[uuid.UUID]int, len(stored.Items))
	for i, it := range stored.Items {
		known[it.ID] = i
	}
	places := make([]int, len(b.ids))
	var missing []fault.Violation
	first := -1
	outside := violations{of: updates}
	for i, id := range b.ids {
		at, found := known[id]
		if !found && first < 0 {
			first = i
		}
		if !found {
			missing = append(missing, fault.Violation{Field: fmt.Sprintf("%s[%d].id", updates, i), Description: "is not in the list"})
		}
		places[i] = at
		if p := b.patches[i]; p.Order != nil && *p.Order > len(stored.Items) {
			outside.at = i
			outside.add(fault.ReasonInvalidField, "order", fmt.Sprintf("must be a whole number from 1 to %d", len(stored.Items)))
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "There is no such preference.").With("index", first).Violating(missing...)
	}
	return places, outside.err()
}

// judge looks at the condition on the list first, then at those on the items.
func (b batch) judge(stored List, places []int) error {
	if err := b.terms.judgeList(stored); err != nil {
		return err
	}
	for i, at := range places {
		it := stored.Items[at]
		terms := Terms{Conditions: b.conditions[i], Force: b.terms.Force}
		if err := terms.judgeItem(it); err != nil {
			return fault.With(err, "index", i)
		}
	}
	return nil
}

func (b batch) merge(stored List, places []int, wanted []Wanted) error {
	v := violations{of: updates}
	for i, p := range b.patches {
		if p.Attributes == nil {
			continue
		}
		merged, why := checkAttributes(merge(stored.Items[places[i]].Attributes, p.Attributes))
		if why != "" {
			v.at = i
			v.add(fault.ReasonInvalidField, "attributes", why)
		}
		wanted[places[i]].Attributes = merged
	}
	return v.err()
}

// move puts each item with an order exactly there. The others keep their
// relative order and fill the room that is left, so that what comes out does
// not depend on the order of the changes in the batch.
func (b batch) move(places []int, wanted []Wanted) []Wanted {
	fixed, moved := make(map[int]int, len(places)), make(map[int]bool, len(places))
	for i, p := range b.patches {
		if p.Order != nil {
			fixed[*p.Order-1], moved[places[i]] = places[i], true
		}
	}
	out := make([]Wanted, 0, len(wanted))
	next := 0
	for len(out) < len(wanted) {
		if at, is := fixed[len(out)]; is {
			out = append(out, wanted[at])
			continue
		}
		for moved[next] {
			next++
		}
		out = append(out, wanted[next])
		next++
	}
	return out
}
