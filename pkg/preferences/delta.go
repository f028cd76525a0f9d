package preferences

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/google/uuid"
)

// Record is an item as history keeps it.
type Record struct {
	ID         uuid.UUID       `json:"id"`
	EntityType string          `json:"entityType"`
	EntityID   string          `json:"entityId"`
	Order      int             `json:"order"`
	Attributes json.RawMessage `json:"attributes"`
}

// Update is what changed in an item that stayed, each as [from, to].
type Update struct {
	EntityID   string              `json:"entityId"`
	Order      *[2]int             `json:"order,omitempty"`
	Attributes *[2]json.RawMessage `json:"attributes,omitempty"`
}

// Delta leads from one version of a list to the next, and back. Items that it
// does not name keep their relative order; where one of the two versions shows
// gaps, they keep their numbers.
type Delta struct {
	Added   []Record `json:"added,omitempty"`
	Removed []Record `json:"removed,omitempty"`
	Updated []Update `json:"updated,omitempty"`
}

func recordOf(i Item) Record {
	return Record{i.ID, i.EntityType, i.EntityID, i.Order, i.Attributes}
}

// Records is the list as history keeps it.
func (l List) Records() []Record {
	out := make([]Record, len(l.Items))
	for i, it := range l.Items {
		out[i] = recordOf(it)
	}
	return out
}

// Back is the delta that undoes d.
func (d Delta) Back() Delta {
	out := Delta{Added: d.Removed, Removed: d.Added, Updated: slices.Clone(d.Updated)}
	for i, u := range out.Updated {
		if u.Order != nil {
			out.Updated[i].Order = &[2]int{u.Order[1], u.Order[0]}
		}
		if u.Attributes != nil {
			out.Updated[i].Attributes = &[2]json.RawMessage{u.Attributes[1], u.Attributes[0]}
		}
	}
	return out
}

// Replay applies d to a version; gaps says whether the version that results
// shows gaps.
func Replay(version []Record, d Delta, gaps bool) []Record {
	named, rest := split(version, d)
	byOrder := func(a, b Record) int { return cmp.Compare(a.Order, b.Order) }
	slices.SortFunc(named, byOrder)
	out := make([]Record, 0, len(named)+len(rest))
	if gaps {
		out = append(append(out, named...), rest...)
		slices.SortFunc(out, byOrder)
		return out
	}
	for len(named)+len(rest) > 0 {
		from := &rest
		if len(rest) == 0 || len(named) > 0 && named[0].Order <= len(out)+1 {
			from = &named
		}
		r := (*from)[0]
		*from = (*from)[1:]
		r.Order = len(out) + 1
		out = append(out, r)
	}
	return out
}

// split parts a version, after d, into the items whose order d names and those
// that keep their relative order.
func split(version []Record, d Delta) (named, rest []Record) {
	gone, updates := map[uuid.UUID]bool{}, map[string]Update{}
	for _, r := range d.Removed {
		gone[r.ID] = true
	}
	for _, u := range d.Updated {
		updates[u.EntityID] = u
	}
	named, rest = slices.Clone(d.Added), []Record{}
	for _, r := range version {
		if gone[r.ID] {
			continue
		}
		u := updates[r.EntityID]
		if u.Attributes != nil {
			r.Attributes = u.Attributes[1]
		}
		if u.Order == nil {
			rest = append(rest, r)
			continue
		}
		r.Order = u.Order[1]
		named = append(named, r)
	}
	return named, rest
}
