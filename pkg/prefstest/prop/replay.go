package prop

import (
	"slices"
)

// record is an item as the history has it.
type record struct {
	ID         string     `json:"id"`
	EntityID   string     `json:"entityId"`
	EntityType string     `json:"entityType"`
	Order      int        `json:"order"`
	Attributes attributes `json:"attributes"`
}

// delta is what the history says of a version: it leads there from the one before, and back.
type delta struct {
	Added   []record `json:"added"`
	Removed []record `json:"removed"`
	Updated []struct {
		EntityID   string         `json:"entityId"`
		Order      *[2]int        `json:"order"`
		Attributes *[2]attributes `json:"attributes"`
	} `json:"updated"`
}

// Sides of a delta: which of its two values counts.
const (
	before = 0
	after  = 1
)

// apply leads from one version to the next, or back: what the delta gives a number stands there, and the rest fills the room in
// between as it stood. Where the version that comes out shows gaps, the rest keeps its numbers.
func (d delta) apply(items []item, side int, gaps bool) []item {
	comes, goes := d.Added, d.Removed
	if side == before {
		comes, goes = goes, comes
	}
	var named, rest []item
	for _, r := range comes {
		named = append(named, item{r.EntityID, r.Order, r.Attributes, r.ID})
	}
	for _, it := range items {
		if slices.ContainsFunc(goes, func(r record) bool { return r.ID == it.id }) {
			continue
		}
		moved := false
		for _, u := range d.Updated {
			if u.EntityID != it.account {
				continue
			}
			if u.Attributes != nil {
				it.attributes = u.Attributes[side]
			}
			if u.Order != nil {
				it.order, moved = u.Order[side], true
			}
		}
		if moved {
			named = append(named, it)
		} else {
			rest = append(rest, it)
		}
	}
	out := append(named, rest...)
	if !gaps {
		out = fill(named, rest)
	}
	slices.SortFunc(out, func(a, b item) int { return a.order - b.order })
	return out
}

// fill numbers the rest by the places that are free.
func fill(named, rest []item) []item {
	out := slices.Clone(named)
	place := 0
	for _, it := range rest {
		for place++; slices.ContainsFunc(named, func(n item) bool { return n.order == place }); place++ {
			continue
		}
		it.order = place
		out = append(out, it)
	}
	return out
}
