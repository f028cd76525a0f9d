package preferences

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Input is one item as a request describes it. What the request left out is
// nil or empty; the decoder has seen to types and spelling.
type Input struct {
	EntityID   string
	EntityType string          // empty: the domain's
	Order      *int            // at least 1; all items of a request have one, or none
	Attributes json.RawMessage // nil: keep what is stored; else an object
}

// inputs is the member of a request that holds the items of a list.
const inputs = "preferences"

// wantedOf checks a whole list of inputs and puts it in order. Every violation
// is reported at once; the reason is that of the first.
func (d Domain) wantedOf(in []Input) ([]Wanted, error) {
	if len(in) > MaxItems {
		return nil, fault.New(fault.Invalid, fault.ReasonTooManyItems, "A list holds at most %d items; %d were sent.", MaxItems, len(in)).
			Violating(fault.Violation{Field: inputs, Description: fmt.Sprintf("must hold at most %d items", MaxItems)})
	}
	v := violations{of: inputs}
	orders, entities := make(map[int]int, len(in)), make(map[string]int, len(in))
	out := make([]ranked, len(in))
	for i, x := range in {
		v.at = i
		out[i] = ranked{d.wanted(&v, x), x.Order}
		if first, twice := entities[x.EntityID]; twice && x.EntityID != "" {
			v.add(fault.ReasonDuplicateEntity, "entityId", fmt.Sprintf("repeats %s[%d].entityId; an entity stands in a list once", inputs, first))
		} else {
			entities[x.EntityID] = i
		}
		if (x.Order == nil) == (in[0].Order == nil) {
			v.order(x.Order)
		} else {
			v.add(fault.ReasonInvalidField, "order", "must be given for all items or for none")
		}
		v.distinct(x.Order, orders)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return sorted(out), nil
}

// ranked is a wanted item and the order that the request gives it, if any.
type ranked struct {
	Wanted

	order *int
}

// sorted returns the items in their order.
func sorted(in []ranked) []Wanted {
	if len(in) > 0 && in[0].order != nil {
		slices.SortFunc(in, func(a, b ranked) int { return *a.order - *b.order })
	}
	out := make([]Wanted, len(in))
	for i, x := range in {
		out[i] = x.Wanted
	}
	return out
}

// wanted checks what can be said about an item alone, and returns it. Of which
// type it should be is not known in the zero domain.
func (d Domain) wanted(v *violations, x Input) Wanted {
	w := Wanted{EntityType: d.EntityType, EntityID: x.EntityID}
	if why := checkEntityID(x.EntityID); why != "" {
		v.add(fault.ReasonInvalidField, "entityId", why)
	}
	if x.EntityType != "" && x.EntityType != d.EntityType && d.EntityType != "" {
		v.add(fault.ReasonInvalidField, "entityType", fmt.Sprintf("must be %q in this domain, or left out", d.EntityType))
	}
	if x.Attributes == nil {
		return w
	}
	spelled, why := checkAttributes(x.Attributes)
	if why != "" {
		v.add(fault.ReasonInvalidField, "attributes", why)
	}
	w.Attributes = spelled
	return w
}

// violations collects what is wrong with a request.
type violations struct {
	of     string // the member of the request that holds the items
	at     int    // index of the item that is looked at; alone: the request is one item
	reason fault.Reason
	all    []fault.Violation
}

// alone is where the item of a request stands that has no list of them.
const alone = -1

func (v *violations) add(reason fault.Reason, member, description string) {
	if v.reason == "" {
		v.reason = reason
	}
	if v.at != alone {
		member = fmt.Sprintf("%s[%d].%s", v.of, v.at, member)
	}
	v.all = append(v.all, fault.Violation{Field: member, Description: description})
}

// order checks an order alone; nil is none.
func (v *violations) order(order *int) {
	if order != nil && (*order < 1 || *order > math.MaxInt32) {
		v.add(fault.ReasonInvalidField, "order", fmt.Sprintf("must be a whole number from 1 to %d", math.MaxInt32))
	}
}

// distinct refuses an order that another item of the request has; seen holds
// where the orders so far stand. One that can be nobody's repeats nothing.
func (v *violations) distinct(order *int, seen map[int]int) {
	if order == nil || *order < 1 {
		return
	}
	if first, twice := seen[*order]; twice {
		v.add(fault.ReasonOrderConflict, "order", fmt.Sprintf("repeats %s[%d].order; orders must be distinct", v.of, first))
		return
	}
	seen[*order] = v.at
}

func (v *violations) err() error {
	if len(v.all) == 0 {
		return nil
	}
	message := "The request is not valid; details.fieldViolations says where."
	switch v.reason {
	case fault.ReasonDuplicateEntity:
		message = "An entity stands in the request twice."
	case fault.ReasonOrderConflict:
		message = "Two items claim the same order."
	default:
	}
	return fault.New(fault.Invalid, v.reason, "%s", message).Violating(v.all...)
}
