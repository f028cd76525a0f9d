package prop

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// replace makes a list what a request says.
func (m *model) replace(k key, wanted []wish, tag string, t terms, dry bool) answer {
	l := m.lists[k]
	if !t.force && !t.holds(tag, l.version() > 0) {
		return failed
	}
	return m.write(write{list: l, wanted: wanted, action: "replace", actor: k.user, forced: t.force, dry: dry}, http.StatusOK)
}

// create adds an item; an order of 0 is none.
func (m *model) create(k key, add wish, order int, tag string, t terms) answer {
	l := m.lists[k]
	at := l.find(ofAccount(add.account))
	switch {
	case order > len(l.items)+1:
		return outside
	case !t.holds(tag, l.version() > 0):
		return failed
	case at >= 0:
		return listed
	case order == 0:
		order = len(l.items) + 1
	}
	if add.attributes == nil {
		add.attributes = attributes{}
	}
	return m.write(write{list: l, wanted: slices.Insert(l.wishes(), order-1, add), action: "create", actor: k.user, strict: true}, http.StatusCreated)
}

// patch is one change of an item; what is nil or 0 stays.
type patch struct {
	id    string
	merge attributes
	order int
	etag  string // in a batch: the tag that the item must have
}

// patchItem changes one item of a user, wherever it stands.
func (m *model) patchItem(k key, p patch, tag string, t terms) answer {
	l := m.lists[k]
	at := l.find(withID(p.id))
	switch {
	case at < 0:
		return notFound
	case p.order > len(l.items):
		return outside
	case !t.force && !t.holds(tag, true):
		return failed
	}
	wanted := l.wishes()
	if p.merge != nil {
		wanted[at].attributes = merged(l.items[at].attributes, p.merge)
	}
	if p.order != 0 {
		moved := wanted[at]
		wanted = slices.Insert(slices.Delete(wanted, at, at+1), p.order-1, moved)
	}
	return m.write(write{list: l, wanted: wanted, action: "update", actor: k.user, forced: t.force}, http.StatusOK)
}

// remove takes one item away.
func (m *model) remove(k key, id, tag string, t terms) answer {
	l := m.lists[k]
	at := l.find(withID(id))
	switch {
	case at < 0:
		return notFound
	case !t.holds(tag, true):
		return failed
	}
	return m.write(write{list: l, wanted: slices.Delete(l.wishes(), at, at+1), action: "delete", actor: k.user}, http.StatusNoContent)
}

// batch changes several items, all or none; tagOf is what an item's tag is.
func (m *model) batch(k key, patches []patch, tag string, tagOf func(id string) string, t terms) answer {
	l := m.lists[k]
	for i, p := range patches {
		if l.find(withID(p.id)) < 0 {
			out := notFound
			out.index = i
			return out
		}
	}
	if slices.ContainsFunc(patches, func(p patch) bool { return p.order > len(l.items) }) {
		return outside
	}
	if !t.force && !t.holds(tag, l.version() > 0) {
		return failed
	}
	for i, p := range patches {
		if !t.force && p.etag != "" && p.etag != tagOf(p.id) {
			out := failed
			out.index = i
			return out
		}
	}
	return m.write(write{list: l, wanted: l.batched(patches), action: "update", actor: k.user, forced: t.force}, http.StatusOK)
}

// batched puts what has an order exactly there, and the rest in between as it stood.
func (l *list) batched(patches []patch) []wish {
	out, rest := make([]wish, len(l.items)), []wish{}
	for _, it := range l.items {
		w := wish{account: it.account}
		place := 0
		if at := slices.IndexFunc(patches, func(p patch) bool { return p.id == it.id }); at >= 0 {
			place = patches[at].order
			if patches[at].merge != nil {
				w.attributes = merged(it.attributes, patches[at].merge)
			}
		}
		if place > 0 {
			out[place-1] = w
		} else {
			rest = append(rest, w)
		}
	}
	for i := range out {
		if out[i].account == "" {
			out[i], rest = rest[0], rest[1:]
		}
	}
	return out
}

// restore makes a list what it was in an earlier version.
func (m *model) restore(k key, n int, tag string, t terms) answer {
	l := m.lists[k]
	switch {
	case n > l.version():
		return notFound
	case !t.holds(tag, l.version() > 0):
		return failed
	}
	return m.write(write{list: l, wanted: wishesFor(l.at(n).items), action: "restore", actor: k.user}, http.StatusOK)
}

// wishesFor asks for items exactly as they were.
func wishesFor(items []item) []wish {
	out := make([]wish, len(items))
	for i, it := range items {
		out[i] = wish{it.account, it.attributes}
	}
	return out
}

// merged is a JSON merge patch (RFC 7396), for objects.
func merged(target, with attributes) attributes {
	out := maps.Clone(target)
	for name, value := range with {
		object, is := value.(attributes)
		switch {
		case value == nil:
			delete(out, name)
		case is:
			inner, _ := out[name].(attributes) // what is no object counts as an empty one
			if inner == nil {
				inner = attributes{}
			}
			out[name] = merged(inner, object)
		default:
			out[name] = value
		}
	}
	return out
}

// meaning spells what a request with an Idempotency-Key asks for, so that two spellings of one request are the same.
func meaning(parts ...any) string {
	var out strings.Builder
	for _, p := range parts {
		text, err := json.Marshal(p)
		if err != nil {
			panic(fmt.Sprintf("a request is made of JSON: %v", err))
		}
		out.Write(append(text, '\n'))
	}
	return out.String()
}

// spelled is a list of wishes as meaning takes it.
func spelled(wanted []wish) []any {
	out := make([]any, 0, 2*len(wanted))
	for _, w := range wanted {
		out = append(out, w.account, w.attributes)
	}
	return out
}
