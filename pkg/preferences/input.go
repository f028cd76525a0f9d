package preferences

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

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
	v := violations{}
	orders, entities := map[int]int{}, map[string]int{}
	for i, x := range in {
		at := fmt.Sprintf("%s[%d]", inputs, i)
		d.checkItem(&v, at, x)
		if first, twice := entities[x.EntityID]; twice && x.EntityID != "" {
			v.add(fault.ReasonDuplicateEntity, at+".entityId", fmt.Sprintf("repeats %s[%d].entityId; an entity stands in a list once", inputs, first))
		} else {
			entities[x.EntityID] = i
		}
		v.order(x, in[0], at)
		if x.Order == nil {
			continue
		}
		if first, twice := orders[*x.Order]; twice {
			v.add(fault.ReasonOrderConflict, at+".order", fmt.Sprintf("repeats %s[%d].order; orders must be distinct", inputs, first))
		} else {
			orders[*x.Order] = i
		}
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return d.sorted(in), nil
}

// sorted returns the inputs in their order, as wanted items.
func (d Domain) sorted(in []Input) []Wanted {
	in = slices.Clone(in)
	if len(in) > 0 && in[0].Order != nil {
		slices.SortFunc(in, func(a, b Input) int { return *a.Order - *b.Order })
	}
	out := make([]Wanted, len(in))
	for i, x := range in {
		out[i] = d.wanted(x)
	}
	return out
}

func (d Domain) wanted(x Input) Wanted {
	w := Wanted{EntityType: d.EntityType, EntityID: x.EntityID}
	if x.Attributes != nil {
		w.Attributes = spelled(x.Attributes)
	}
	return w
}

// checkItem checks what can be said about an item alone.
func (d Domain) checkItem(v *violations, at string, x Input) {
	if why := checkEntityID(x.EntityID); why != "" {
		v.add(fault.ReasonInvalidField, at+".entityId", why)
	}
	if x.EntityType != "" && x.EntityType != d.EntityType {
		v.add(fault.ReasonInvalidField, at+".entityType", fmt.Sprintf("must be %q in this domain, or left out", d.EntityType))
	}
	if x.Attributes == nil {
		return
	}
	why := checkAttributes(x.Attributes)
	if why == "" && len(spelled(x.Attributes)) > MaxAttributesBytes {
		why = fmt.Sprintf("must not be larger than %d bytes as the database spells them: a space after each colon and comma, numbers written out", MaxAttributesBytes)
	}
	if why != "" {
		v.add(fault.ReasonInvalidField, at+".attributes", why)
	}
}

// violations collects what is wrong with a request.
type violations struct {
	reason fault.Reason
	all    []fault.Violation
}

func (v *violations) add(reason fault.Reason, field, description string) {
	if v.reason == "" {
		v.reason = reason
	}
	// Of a request that is one item, the path begins with the member.
	v.all = append(v.all, fault.Violation{Field: strings.TrimPrefix(field, "."), Description: description})
}

// order checks one item's order beside that of the first.
func (v *violations) order(x, first Input, at string) {
	switch {
	case (x.Order == nil) != (first.Order == nil):
		v.add(fault.ReasonInvalidField, at+".order", "must be given for all items or for none")
	case x.Order != nil && (*x.Order < 1 || *x.Order > math.MaxInt32):
		v.add(fault.ReasonInvalidField, at+".order", fmt.Sprintf("must be a whole number from 1 to %d", math.MaxInt32))
	}
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
