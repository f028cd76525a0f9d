package preferences

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/mutant"
)

// Stamp is what a version cannot compute: its time and the ids of new items.
type Stamp struct {
	Time  time.Time // UTC, microseconds, after the stored version's
	NewID func() uuid.UUID
}

// Summary counts what a write changed: Updated the items that stayed and whose
// order or attributes differ from before.
type Summary struct{ Created, Updated, Deleted, Total int }

// Changes is everything that one write does: in rows, and in words.
type Changes struct {
	Next   List // the list afterwards
	Delete []uuid.UUID
	Update []RowUpdate
	Insert []Item

	Created, Updated, Deleted []string // entity ids
	Fields                    []string // what changed in items that stayed
	Delta                     Delta
}

// RowUpdate rewrites a row. Changed is false where only a hole closes that
// nobody sees: then version and time of the item stay.
type RowUpdate struct {
	Item
	Changed bool
}

// Empty says that nothing differs: no row, no version, no event.
func (c Changes) Empty() bool { return len(c.Created)+len(c.Updated)+len(c.Deleted) == 0 }

// Check refuses a write whose list would be larger than a list may be. A write
// that adds nothing is never refused.
func (c Changes) Check() error {
	if len(c.Insert)+len(c.Update) == 0 {
		return nil
	}
	return checkSize(c.Next)
}

// Summary counts what differs.
func (c Changes) Summary() Summary {
	return Summary{len(c.Created), len(c.Updated), len(c.Deleted), c.Next.Total()}
}

// Diff decides what makes stored equal to wanted, whose entities are distinct.
// A write that only removes or appends leaves every other row alone. One that
// moves an item, puts one between others, or changes the shape of a list that
// shows gaps, stores positions 1..n.
func Diff(stored List, wanted []Wanted, stamp Stamp) Changes {
	p := newPlan(stored, wanted)
	c := Changes{Next: stored}
	c.Next.Version, c.Next.UpdateTime, c.Next.Gaps = stored.Version+1, stamp.Time, stored.Gaps && !p.reshaped
	c.Next.Items = make([]Item, len(wanted))
	fields := map[string]bool{}
	last := int32(0)
	for i, w := range wanted {
		if p.was[i] < 0 {
			c.Next.Items[i] = c.insert(w, last+1, i+1, stamp)
		} else {
			c.Next.Items[i] = c.keep(p, i, w, last+1, stamp.Time, fields)
		}
		last = c.Next.Items[i].Position
	}
	for _, it := range stored.Items {
		if p.gone[it.Entity()] {
			c.Delete, c.Deleted = append(c.Delete, it.ID), append(c.Deleted, it.EntityID)
			c.Delta.Removed = append(c.Delta.Removed, recordOf(it))
		}
	}
	c.Fields = fieldNames(fields)
	return c
}

// plan is how the wanted list lies over the stored one.
type plan struct {
	stored   List
	was      []int           // for each wanted item its index in stored; -1: new
	gone     map[Entity]bool // stored entities that are not wanted
	stays    map[int]bool    // indexes in stored that keep their relative order; empty unless moved
	moved    bool            // some items changed places
	reshaped bool            // moved, or the set of items differs: gaps that readers see close
	dense    bool            // positions are stored as 1..n
}

func newPlan(stored List, wanted []Wanted) plan {
	p := plan{stored: stored, was: make([]int, len(wanted)), gone: make(map[Entity]bool)}
	kept := make([]int, 0, len(wanted))
	// Most writes leave a head of the list where it is, often all of it.
	for len(kept) < min(len(wanted), len(stored.Items)) && stored.Items[len(kept)].Entity() == wanted[len(kept)].Entity() {
		p.was[len(kept)], kept = len(kept), append(kept, len(kept))
	}
	from := make(map[Entity]int, len(stored.Items)-len(kept))
	for i, it := range stored.Items[len(kept):] {
		from[it.Entity()], p.gone[it.Entity()] = len(kept)+i, true
	}
	between := false
	for i := len(kept); i < len(wanted); i++ {
		w := wanted[i]
		k, found := from[w.Entity()]
		if !found {
			p.was[i] = -1
			continue
		}
		delete(p.gone, w.Entity())
		between = between || len(kept) < i // a new item stands before this one
		p.moved = p.moved || len(kept) > 0 && k < kept[len(kept)-1]
		p.was[i], kept = k, append(kept, k)
	}
	p.reshaped = p.moved || len(kept) < len(wanted) || len(p.gone) > 0
	p.dense = p.moved || between || stored.Gaps && p.reshaped
	if p.moved {
		p.stays = longestIncreasing(kept)
	}
	return p
}

func (c *Changes) insert(w Wanted, position int32, order int, stamp Stamp) Item {
	it := Item{
		ID: stamp.NewID(), EntityType: w.EntityType,
		EntityID: strings.Clone(w.EntityID), // a list may be kept for long, and this be part of a whole request
		Order:    order, Attributes: json.RawMessage("{}"),
		Version: 1, CreateTime: stamp.Time, UpdateTime: stamp.Time, Position: position,
	}
	if w.Attributes != nil {
		it.Attributes = bytes.Clone(w.Attributes) // its text may have had much more room
	}
	c.Insert, c.Created = append(c.Insert, it), append(c.Created, it.EntityID)
	c.Delta.Added = append(c.Delta.Added, recordOf(it))
	return it
}

func (c *Changes) keep(p plan, i int, w Wanted, position int32, now time.Time, fields map[string]bool) Item {
	old := p.stored.Items[p.was[i]]
	it := old
	if p.dense {
		it.Position = position
	}
	if p.reshaped {
		it.Order = i + 1
	}
	if mutant.Is("diff-off-by-one") {
		it.Order = i
	}
	var names []string
	if w.Attributes != nil {
		names = changedNames(old.Attributes, w.Attributes)
	}
	rewritten := len(names) > 0
	reordered := it.Order != old.Order
	named := Update{EntityID: it.EntityID}
	if rewritten {
		it.Attributes = bytes.Clone(w.Attributes) // likewise
		for _, name := range names {
			fields["attributes."+name] = true
		}
		named.Attributes = &[2]json.RawMessage{old.Attributes, it.Attributes}
	}
	if reordered {
		fields["order"] = true
	}
	if rewritten || reordered {
		c.Updated = append(c.Updated, it.EntityID)
	}
	if changed := rewritten || p.dense && reordered; changed || it.Position != old.Position {
		if changed {
			it.Version, it.UpdateTime = it.Version+1, now
		}
		c.Update = append(c.Update, RowUpdate{it, changed})
	}
	// Where shown gaps close every changed number is named; elsewhere the items that moved round the others.
	if p.stored.Gaps && reordered || !p.stored.Gaps && p.moved && !p.stays[p.was[i]] {
		named.Order = &[2]int{old.Order, it.Order}
	}
	if mutant.Is("delta-without-move") {
		named.Order = nil
	}
	if named.Order != nil || named.Attributes != nil {
		c.Delta.Updated = append(c.Delta.Updated, named)
	}
	return it
}

// longestIncreasing returns the values of s that can stay where they are while
// the others move round them (patience sorting).
func longestIncreasing(s []int) map[int]bool {
	var tails []int // indexes in s: the smallest end of a run of each length
	before := make([]int, len(s))
	for i, v := range s {
		n := sort.Search(len(tails), func(k int) bool { return s[tails[k]] >= v })
		before[i] = -1
		if n > 0 {
			before[i] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	out := make(map[int]bool, len(tails))
	if len(tails) == 0 {
		return out
	}
	for i := tails[len(tails)-1]; i >= 0; i = before[i] {
		out[s[i]] = true
	}
	return out
}

// maxFields bounds what an event says about changed attributes.
const maxFields = 100

func fieldNames(fields map[string]bool) []string {
	out := make([]string, 0, len(fields))
	for name := range fields {
		out = append(out, name)
	}
	slices.Sort(out)
	if len(out) > maxFields {
		// "order" sorts after every "attributes.": it must not fall off the end.
		keep := out[:maxFields:maxFields]
		out = append(keep, "attributes.*")
		if fields["order"] {
			out = append(out, "order")
		}
	}
	return out
}

// changedNames are the members in which two objects differ, in no order; none
// where they are the same, as sameJSON has it.
func changedNames(a, b json.RawMessage) (names []string) {
	if sameButSpace(a, b) {
		return nil
	}
	before, after := object(a), object(b)
	for name, value := range before {
		if !sameJSON(value, after[name]) {
			names = append(names, name)
		}
	}
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	return names
}
