// Package lin holds histories of a list, as users have lived through it over
// HTTP, against the one list that they were promised: a register with a
// version, entries in order and their attributes, of which every operation
// takes hold at one moment between its call and its answer. Porcupine looks for
// such moments; a history that has none is refused.
//
// What the owner of the entities does is part of the history, and so are the
// events: each version must have been told as what the model makes of it.
package lin

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Codes of the errors that a request can be answered with.
const (
	codePrecondition = "PRECONDITION_FAILED"
	codeNotFound     = "NOT_FOUND"
	codeExists       = "ALREADY_EXISTS"
	codeDeleted      = "ENTITY_DELETED"
	codeInvalid      = "INVALID_FIELD"
)

// state is the list as it should be. It is never changed, only replaced.
type state struct {
	version int64
	items   []placed
	owned   map[string]int // the last of the owner's statements about each entity
	over    bool           // what is not known to have happened has not
}

type placed struct {
	Item
	since int64 // the version that has last changed what a reader sees of it
}

// effect is what a request does to a state, and how that is answered.
type effect struct {
	status  int
	code    string
	next    state
	shows   int // index of the one item that the answer shows; -1: none
	skipped []string
}

// model steps from state to state as far as the events allow; nil: nobody has
// heard of any.
type model struct{ events map[int64]Event }

// step is what becomes of the list if the request takes hold now. It is false
// where the request cannot have, with that answer.
func (m model) step(s state, r Request, a Answer) (state, bool) {
	switch r.Kind {
	case Stated, Swept, Spared:
		return m.owner(s, r)
	case Get:
		next, shown := s.read(r, a)
		return next, shown && m.tagged(a)
	case over:
		s.over = true
		return s, true
	case Replace, Create, Patch, Delete:
	}
	does := s.write(r)
	if a.Unknown {
		return m.unknown(s, does, r.Kind)
	}
	if does.status != a.Status || does.code != a.Code || !slices.Equal(does.skipped, a.Skipped) {
		return s, false
	}
	next, shown := does.shown(r, a)
	return next, shown && m.told(s, next, r.Kind) && m.tagged(a)
}

// unknown takes hold where its version was told as its own, or never.
func (m model) unknown(s state, does effect, kind Kind) (state, bool) {
	switch {
	case s.over:
		return s, true
	case does.next.version == s.version:
		return s, false // it may as well wait for the end
	default:
		return does.next, m.told(s, does.next, kind)
	}
}

// write is the effect of what a user asks for.
func (s state) write(r Request) effect {
	switch r.Kind {
	case Replace:
		return s.replace(r)
	case Create:
		return s.create(r)
	case Patch, Delete:
		return s.edit(r)
	case Get, Stated, Swept, Spared, over:
	}
	panic("lin: " + string(r.Kind) + " writes nothing")
}

func (s state) refused(status int, code string) effect {
	return effect{status: status, code: code, next: s, shows: -1}
}

// replace leaves deleted entities out, unless they are still in the list.
func (s state) replace(r Request) effect {
	if r.If != nil && *r.If != s.version {
		return s.refused(http.StatusPreconditionFailed, codePrecondition)
	}
	var items []placed
	var skipped []string
	for _, w := range r.Items {
		at := s.index(w.Entity)
		if at < 0 && s.deleted(w.Entity) {
			skipped = append(skipped, w.Entity)
			continue
		}
		it := placed{Item: Item{Entity: w.Entity}}
		if at >= 0 {
			it = s.items[at]
		}
		if w.Mark != 0 {
			it.Mark = w.Mark
		}
		items = append(items, it)
	}
	return effect{status: http.StatusOK, next: s.becomes(items), shows: -1, skipped: skipped}
}

func (s state) create(r Request) effect {
	add := r.Items[0]
	at := r.Order - 1
	if r.Order == 0 {
		at = len(s.items)
	}
	switch {
	case at > len(s.items):
		return s.refused(http.StatusBadRequest, codeInvalid)
	case r.If != nil && *r.If != s.version:
		return s.refused(http.StatusPreconditionFailed, codePrecondition)
	case s.index(add.Entity) >= 0:
		return s.refused(http.StatusConflict, codeExists)
	case s.deleted(add.Entity):
		return s.refused(http.StatusConflict, codeDeleted)
	}
	items := slices.Insert(slices.Clone(s.items), at, placed{Item: Item{Entity: add.Entity, Mark: add.Mark}})
	return effect{status: http.StatusCreated, next: s.becomes(items), shows: at}
}

// edit patches, moves or deletes the item of an id.
func (s state) edit(r Request) effect {
	at := slices.IndexFunc(s.items, func(p placed) bool { return p.ID == r.Item })
	switch {
	case at < 0:
		return s.refused(http.StatusNotFound, codeNotFound)
	case r.Order > len(s.items):
		return s.refused(http.StatusBadRequest, codeInvalid)
	case r.If != nil && s.items[at].since > *r.If:
		return s.refused(http.StatusPreconditionFailed, codePrecondition)
	}
	items := slices.Clone(s.items)
	if r.Kind == Delete {
		return effect{status: http.StatusNoContent, next: s.becomes(slices.Delete(items, at, at+1)), shows: -1}
	}
	it, to := items[at], at
	if r.Mark != 0 {
		it.Mark = r.Mark
	}
	if r.Order != 0 {
		to = r.Order - 1
	}
	items = slices.Insert(slices.Delete(items, at, at+1), to, it)
	return effect{status: http.StatusOK, next: s.becomes(items), shows: to}
}

// becomes is the next version, if anything differs.
func (s state) becomes(items []placed) state {
	next := s
	next.version, next.items = s.version+1, items
	changed := len(items) != len(s.items)
	for i, it := range items {
		if i < len(s.items) && s.items[i].Entity == it.Entity && s.items[i].Mark == it.Mark {
			continue
		}
		items[i].since, changed = next.version, true
	}
	if !changed {
		return s
	}
	return next
}

// read compares the list with what a reader was shown.
func (s state) read(r Request, a Answer) (state, bool) {
	unchanged := r.If != nil && *r.If == s.version
	if a.Status == http.StatusNotModified {
		return s, unchanged
	}
	if a.Status != http.StatusOK || unchanged || a.Version != s.version {
		return s, false
	}
	return s.showing(a.Items)
}

// shown compares the effect with what a writer was shown.
func (e effect) shown(r Request, a Answer) (state, bool) {
	switch {
	case r.Kind == Replace && e.code == "":
		if a.Version != e.next.version {
			return e.next, false
		}
		return e.next.showing(a.Items)
	case e.shows >= 0:
		return e.next.showingOne(e.shows, a.Items)
	default:
		return e.next, true
	}
}

func (s state) showing(items []Item) (state, bool) {
	if len(items) != len(s.items) {
		return s, false
	}
	for i := range items {
		var same bool
		if s, same = s.showingOne(i, items[i:i+1]); !same {
			return s, false
		}
	}
	return s, true
}

// showingOne compares an item, and learns the id that the server has given it.
func (s state) showingOne(at int, shown []Item) (state, bool) {
	if len(shown) != 1 {
		return s, false
	}
	it, is := s.items[at].Item, shown[0]
	if it.Entity != is.Entity || it.Mark != is.Mark || is.Order != at+1 || it.ID != "" && it.ID != is.ID {
		return s, false
	}
	if it.ID == "" {
		s.items = slices.Clone(s.items)
		s.items[at].ID = is.ID
	}
	return s, true
}

// owner is what the owner of the entities has brought about. A deletion that
// takes nothing out of the list has found nothing in it, or was overtaken.
func (m model) owner(s state, r Request) (state, bool) {
	at := s.index(r.Entity)
	reached := s.owned[r.Entity] >= r.Nth
	switch {
	case r.Kind == Stated:
		owned := map[string]int{r.Entity: r.Nth}
		for e, n := range s.owned {
			if e != r.Entity {
				owned[e] = n
			}
		}
		s.owned = owned
		return s, true
	case r.Kind == Spared:
		return s, reached && (at < 0 || !s.deleted(r.Entity))
	case !reached || at < 0 || !s.deleted(r.Entity) || r.Version != s.version+1:
		return s, false
	}
	next := s.becomes(slices.Delete(slices.Clone(s.items), at, at+1))
	return next, m.told(s, next, Swept)
}

// action is how events name what an operation does.
func (k Kind) action() string {
	switch k {
	case Patch:
		return "update"
	case Swept:
		return "clean"
	case Get, Replace, Create, Delete, Stated, Spared, over:
	}
	return string(k)
}

// told says whether a version was told as what it is.
func (m model) told(from, to state, kind Kind) bool {
	if m.events == nil || from.version == to.version {
		return true
	}
	e, there := m.events[to.version]
	if !there || e.Action != kind.action() {
		return false
	}
	var created, updated, deleted []string
	for _, it := range to.items {
		switch {
		case from.index(it.Entity) < 0:
			created = append(created, it.Entity)
		case it.since == to.version:
			updated = append(updated, it.Entity)
		}
	}
	for _, it := range from.items {
		if to.index(it.Entity) < 0 {
			deleted = append(deleted, it.Entity)
		}
	}
	if kind == Swept { // its event names no more than the list and the entity
		return slices.Equal(e.Deleted, deleted)
	}
	return e.Total == len(to.items) && same(e.Created, created) && same(e.Updated, updated) && same(e.Deleted, deleted)
}

// same compares entities with sorted ones.
func same(told, entities []string) bool {
	slices.Sort(entities)
	return slices.Equal(told, entities)
}

// tagged says whether the answer's tag is the one that was told of its version.
func (m model) tagged(a Answer) bool {
	e, there := m.events[a.Version]
	return !there || a.Tag == "" || e.Tag == "" || e.Tag == a.Tag
}

func (s state) index(entity string) int {
	return slices.IndexFunc(s.items, func(p placed) bool { return p.Entity == entity })
}

func (s state) deleted(entity string) bool { return s.owned[entity]%2 == 1 }

func (s state) equal(t state) bool {
	return s.version == t.version && s.over == t.over && slices.Equal(s.items, t.items) && maps.Equal(s.owned, t.owned)
}

func (s state) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d:", s.version)
	for _, it := range s.items {
		fmt.Fprintf(&b, " %s", it.Item)
	}
	for _, e := range slices.Sorted(maps.Keys(s.owned)) {
		if s.deleted(e) {
			fmt.Fprintf(&b, ", %s is deleted", e)
		}
	}
	return b.String()
}
