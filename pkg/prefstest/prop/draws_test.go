package prop

import (
	"slices"

	"pgregory.net/rapid"
)

// pick draws one of the values.
func pick[T any](m *machine, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(m.T, label)
}

// chance is true once in n times.
func (m *machine) chance(label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(m.T, label) == n-1
}

// someList draws a list, as its user has seen it last.
func (m *machine) someList() *list {
	m.Helper()
	return m.fresh(m.model.lists[pick(m, "list", m.keys...)])
}

// filledList draws a list that holds something, if there is one.
func (m *machine) filledList() *list {
	m.Helper()
	var filled []key
	for _, k := range m.keys {
		if len(m.model.lists[k].items) > 0 {
			filled = append(filled, k)
		}
	}
	if len(filled) == 0 {
		return m.someList()
	}
	return m.fresh(m.model.lists[pick(m, "list", filled...)])
}

// accounts are the names of those that exist in this run.
func (m *machine) accounts() []string {
	out := []string{"a", "b", "c", "d", "e"}
	for i := range out {
		out[i] = m.name + out[i]
	}
	return out
}

// spellings of attributes that are drawn; the empty one leaves them out.
var spellings = []string{"", "", `{}`, `{"a":1}`, `{"a":2}`, `{"a":1,"b":true}`, `{"b":{"x":"y"}}`, `{"b":{"x":"z","w":[1]}}`, `{"a":null,"c":""}`}

// someAttributes draws attributes; nil leaves them out.
func (m *machine) someAttributes() attributes {
	m.Helper()
	text := pick(m, "attributes", spellings...)
	if text == "" {
		return nil
	}
	var out attributes
	m.decode([]byte(text), &out)
	return out
}

// body is a wish as a request spells it.
func (w wish) body(order int) map[string]any {
	out := map[string]any{"entityId": w.account}
	if w.attributes != nil {
		out["attributes"] = w.attributes
	}
	if order > 0 {
		out["order"] = order
	}
	return out
}

// nobody is an id that no item has.
const nobody = "01900000-0000-7000-8000-000000000000"

// someItem draws an item of a list, or one that is none of its.
func (m *machine) someItem(l *list) string {
	if len(l.items) == 0 || m.chance("unknown", 12) {
		for _, k := range m.keys {
			if other := m.model.lists[k]; k.user != l.user && len(other.items) > 0 {
				return m.fresh(other).items[0].id
			}
		}
		return nobody
	}
	return l.items[rapid.IntRange(0, len(l.items)-1).Draw(m.T, "item")].id
}

// someTerms draws what a write is subject to: mostly nothing, or what the writer has seen last.
func (m *machine) someTerms(tag string, old []string, forcible bool) (t terms, header []string, query string) {
	kinds := []string{"", "", "current", "current", "stale", "star", "no star"}
	if forcible {
		kinds = append(kinds, "forced")
	}
	const match = "If-Match"
	switch pick(m, "terms", kinds...) {
	case "current":
		t.condition = condition{match, tag}
	case "stale":
		t.condition = condition{match, "stale"}
		if len(old) > 0 {
			t.value = pick(m, "old", old...)
		}
	case "star":
		t.condition = condition{match, "*"}
	case "no star":
		t.condition = condition{"If-None-Match", "*"}
	case "forced":
		t, query = terms{condition{match, "stale"}, true}, "?force=true"
	}
	if t.header != "" {
		value := t.value
		if value != "*" {
			value = `"` + value + `"`
		}
		header = []string{t.header, value}
	}
	return t, header, query
}

// oldTags are those that a list had before.
func (l *list) oldTags() []string {
	var out []string
	for _, v := range l.past[:max(l.version()-1, 0)] {
		out = append(out, v.tag)
	}
	return slices.DeleteFunc(out, func(tag string) bool { return tag == "" })
}

// someWishes draws a list to save: any, or the one that is there with a change or two.
func (m *machine) someWishes(l *list) []wish {
	wanted := []wish{}
	if m.chance("as it is", 3) {
		wanted = l.wishes()
	} else {
		order := rapid.Permutation(m.accounts()).Draw(m.T, "accounts")
		for _, a := range order[:rapid.IntRange(0, len(order)).Draw(m.T, "n")] {
			wanted = append(wanted, wish{account: a})
		}
	}
	for i := range wanted {
		wanted[i].attributes = m.someAttributes()
	}
	return wanted
}

// spelled is a list of wishes as a request has it: in order, or in any order with numbers.
func (m *machine) spelled(wanted []wish) []map[string]any {
	if len(wanted) == 0 || !m.chance("numbered", 2) {
		return m.inOrder(wanted)
	}
	out := make([]map[string]any, len(wanted))
	for i, w := range wanted {
		out[i] = w.body((i + 1) * 3) // only their order counts
	}
	return rapid.Permutation(out).Draw(m.T, "spelling")
}

func (m *machine) inOrder(wanted []wish) []map[string]any {
	out := make([]map[string]any, len(wanted))
	for i, w := range wanted {
		out[i] = w.body(0)
	}
	return out
}
