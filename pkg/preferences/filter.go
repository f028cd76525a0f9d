package preferences

import (
	"encoding/json"
	"fmt"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/filter"
)

// MaxFilterTerms is how many comparisons a filter may hold.
const MaxFilterTerms = 20

// Names of what a filter can compare.
const (
	filterEntityID   = "entityId"
	filterEntityType = "entityType"
	filterAttributes = "attributes"
)

// Filter says which items of a list are wanted. The zero value wants all.
type Filter struct {
	text  string
	terms []filterTerm
}

// filterTerm compares one field; an attribute is compared as JSON.
type filterTerm struct {
	field, key string
	text       string
	value      json.RawMessage
}

// ParseFilter reads the filter of a request; a mistake is Invalid and says where
// it is.
func ParseFilter(text string) (Filter, error) {
	terms, err := filter.Parse(text)
	if err != nil {
		return Filter{}, badFilter(err)
	}
	if len(terms) > MaxFilterTerms {
		return Filter{}, badFilter(&filter.Error{At: terms[MaxFilterTerms].At, Problem: fmt.Sprintf("must end here; a filter holds at most %d comparisons", MaxFilterTerms)})
	}
	f := Filter{text: text, terms: make([]filterTerm, len(terms))}
	for i, t := range terms {
		if f.terms[i], err = filterTermOf(t); err != nil {
			return Filter{}, badFilter(err)
		}
	}
	return f, nil
}

func badFilter(err error) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidField, "The filter cannot be read.").Because(err).
		Violating(fault.Violation{Field: "filter", Description: err.Error()})
}

func filterTermOf(t filter.Term) (filterTerm, error) {
	out := filterTerm{field: t.Field[0], text: t.Literal.Text}
	switch attribute := out.field == filterAttributes; {
	case attribute && len(t.Field) == 2:
		out.key, out.value = t.Field[1], jsonOf(t.Literal)
		return out, nil
	case len(t.Field) == 1 && (out.field == filterEntityID || out.field == filterEntityType):
		return out, nil
	default:
		return out, &filter.Error{At: t.At, Problem: "must be entityId, entityType or attributes.<key>; a key with a dot needs quotes"}
	}
}

// jsonOf is what an attribute must be to equal a literal: without quotes, what
// JSON reads as something else than a string is not one.
func jsonOf(l filter.Literal) json.RawMessage {
	if text := []byte(l.Text); !l.Quoted && json.Valid(text) {
		return spelled(text)
	}
	text, err := json.Marshal(l.Text)
	if err != nil {
		panic(err) // a string always has a spelling
	}
	return spelled(text)
}

// Empty says that every item is wanted.
func (f Filter) Empty() bool { return len(f.terms) == 0 }

// Matches says whether an item is wanted.
func (f Filter) Matches(it Item) bool {
	var attributes map[string]json.RawMessage
	for _, t := range f.terms {
		if t.field == filterAttributes && attributes == nil {
			attributes = object(it.Attributes)
		}
		if !t.matches(it, attributes) {
			return false
		}
	}
	return true
}

func (t filterTerm) matches(it Item, attributes map[string]json.RawMessage) bool {
	switch t.field {
	case filterEntityID:
		return it.EntityID == t.text
	case filterEntityType:
		return it.EntityType == t.text
	default:
		value, there := attributes[t.key]
		return there && sameJSON(value, t.value)
	}
}
