package prop

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// request is a write as it is sent.
type request struct {
	key          key
	method, path string
	body         any
	header       []string
	once         string // an Idempotency-Key
	meaning      string // of the request, for the key
}

// write carries a write out, at the server and in the model, unless it was made before. Check looks at an answer that is no
// refusal.
func (m *machine) write(r request, decide func() answer, check func(prefstest.Answer, answer)) {
	m.Helper()
	id, l := [2]string{r.key.user, r.once}, m.model.lists[r.key]
	if r.once != "" {
		r.header = append(r.header, "Idempotency-Key", r.once)
		if k := m.model.keys[id]; k != nil {
			m.repeat(r, k)
			return
		}
	}
	before := l.version()
	want := decide()
	got := m.send(r.key.user, r.method, r.path, r.body, r.header...)
	if want.code != "" {
		m.unwritten(r, got, want)
		return
	}
	m.same("a write is answered otherwise", want.status, got.Status)
	check(got, want)
	if l.version() > before {
		m.saw("writes")
	} else if want.change.empty() {
		m.saw("writes that change nothing")
	}
	if len(want.skipped) > 0 {
		m.saw("deleted accounts left out")
	}
	if r.once != "" {
		m.model.keys[id] = &kept{r.meaning, got.Status, string(got.Body), got.Header.Get("ETag"), got.Header.Get("Location")}
		m.sent[id] = r
	}
}

// unwritten is a write that was refused.
func (m *machine) unwritten(r request, got prefstest.Answer, want answer) {
	m.Helper()
	l := m.model.lists[r.key]
	p := m.refused(got, want)
	if want.status == http.StatusPreconditionFailed {
		tag := m.tag(l)
		if id, is := strings.CutPrefix(p.Error.Details.ResourceName, "preferences/"); is {
			tag = m.shown[id].ETag
		}
		m.same("a refusal does not name the current tag", tag, p.Error.Details.CurrentEtag)
		m.same("a refusal does not have the current tag", `"`+tag+`"`, got.Header.Get("ETag"))
	}
}

// repeat sends a request with a key that was used before: the answer is the one of then, or, if the request means something
// else, a refusal. Either way nothing happens.
func (m *machine) repeat(r request, k *kept) {
	m.Helper()
	got := m.send(r.key.user, r.method, r.path, r.body, r.header...)
	if k.meaning != r.meaning {
		m.refused(got, reused)
	} else {
		m.same("a repeated request is answered otherwise than the first time", *k,
			kept{r.meaning, got.Status, string(got.Body), got.Header.Get("ETag"), got.Header.Get("Location")})
		m.saw("repeated requests")
	}
}

// someKey draws an Idempotency-Key, mostly none.
func (m *machine) someKey() string {
	return pick(m, "key", "", "", "", "", "", "", "", "k1", "k2", "k3", "k4", "k5")
}

// wholeList looks at the answer to a write of a list.
func (m *machine) wholeList(l *list, minimal bool) func(prefstest.Answer, answer) {
	return func(got prefstest.Answer, want answer) {
		m.Helper()
		if minimal {
			m.same("a brief answer has a body", "", string(got.Body))
			m.read(l.key)
			m.same("a brief answer has another tag", `"`+m.tag(l)+`"`, got.Header.Get("ETag"))
			return
		}
		s := m.list(l, got)
		m.summed(s, want, len(l.items))
	}
}

func (m *machine) summed(s shownList, want answer, total int) {
	m.Helper()
	c := want.change
	m.same("a write counts otherwise what it did", []int{len(c.created), len(c.updated), len(c.deleted), total},
		[]int{s.Summary.Created, s.Summary.Updated, s.Summary.Deleted, s.Summary.Total})
	var skipped []string
	for _, x := range s.Skipped {
		skipped = append(skipped, x.EntityID)
		m.same("an account is left out for another reason", account+" ENTITY_DELETED", x.EntityType+" "+x.Reason)
	}
	m.same("a write leaves out other accounts", want.skipped, skipped)
}

// furnish gives each list something to begin with.
func (m *machine) furnish() {
	for _, k := range m.keys {
		wanted := []wish{}
		for _, a := range m.accounts()[:rapid.IntRange(0, len(m.accounts())).Draw(m.T, "to begin with")] {
			wanted = append(wanted, wish{account: a})
		}
		if len(wanted) == 0 {
			continue
		}
		r := request{key: k, method: http.MethodPut, path: "/preferences:batchReplace"}
		r.body = map[string]any{"domain": k.domain, "preferences": m.inOrder(wanted)}
		m.write(r, func() answer { return m.model.replace(k, wanted, "", terms{}, false) }, m.wholeList(m.model.lists[k], false))
	}
}

// save makes a list equal to one that is drawn.
func (m *machine) save() {
	l := m.someList()
	wanted := m.someWishes(l)
	t, header, query := m.someTerms(m.tag(l), l.oldTags(), true)
	r := request{key: l.key, method: pick(m, "method", http.MethodPut, http.MethodPost), path: "/preferences:batchReplace" + query, header: header, once: m.someKey()}
	r.body = map[string]any{"domain": l.domain, "preferences": m.spelled(wanted)}
	r.meaning = meaning("replace", l.domain, spelled(wanted), t.force)
	minimal := m.chance("minimal", 10)
	status := http.StatusOK
	if minimal {
		r.header, status = append(r.header, "Prefer", "return=minimal"), http.StatusNoContent
	}
	m.write(r, func() answer {
		a := m.model.replace(l.key, wanted, m.tag(l), t, false)
		if a.code == "" {
			a.status = status
		}
		return a
	}, m.wholeList(l, minimal))
}

// rehearse asks what a save would do.
func (m *machine) rehearse() {
	l := m.someList()
	wanted := m.someWishes(l)
	t, header, _ := m.someTerms(m.tag(l), l.oldTags(), true)
	query := "?validateOnly=true"
	if t.force {
		query += "&force=true"
	}
	r := request{key: l.key, method: http.MethodPut, path: "/preferences:batchReplace" + query, header: header}
	r.body = map[string]any{"domain": l.domain, "preferences": m.spelled(wanted)}
	m.write(r, func() answer { return m.model.replace(l.key, wanted, m.tag(l), t, true) }, func(got prefstest.Answer, want answer) {
		var s shownList
		m.decode(got.Body, &s)
		after := []item{}
		for _, raw := range s.Preferences {
			p := m.preference(raw)
			after = append(after, item{p.EntityID, p.Order, p.Attributes, ""})
		}
		m.same("a rehearsal shows another list", nameless(want.after), after)
		m.summed(s, want, len(want.after))
		m.same("a rehearsal has another tag than the list", m.tag(l), s.ETag)
		m.saw("rehearsals")
	})
}

// nameless are items without ids.
func nameless(items []item) []item {
	out := make([]item, len(items))
	for i, it := range items {
		it.id = ""
		out[i] = it
	}
	return out
}

// add adds an item.
func (m *machine) add() {
	l := m.someList()
	x := wish{pick(m, "account", m.accounts()...), m.someAttributes()}
	order := pick(m, "order", 0, 0, 1, len(l.items)+1, max(len(l.items), 1), len(l.items)+2)
	t, header, _ := m.someTerms(m.tag(l), l.oldTags(), false)
	body := x.body(order)
	body["domain"] = l.domain
	r := request{key: l.key, method: http.MethodPost, path: "/preferences", body: body, header: header, once: m.someKey()}
	r.meaning = meaning("create", l.domain, x.account, x.attributes, order)
	m.write(r, func() answer { return m.model.create(l.key, x, order, m.tag(l), t) }, func(got prefstest.Answer, _ answer) {
		at := l.find(ofAccount(x.account))
		p := m.item(l, at, got.Body)
		m.same("an item that was added has another tag, or stands elsewhere", []string{`"` + p.ETag + `"`, "/preferences/" + p.ID},
			[]string{got.Header.Get("ETag"), got.Header.Get("Location")})
	})
}

// change changes one item.
func (m *machine) change() {
	l := m.filledList()
	p := patch{id: m.someItem(l), merge: m.someAttributes()}
	p.order = pick(m, "order", 0, 0, 1, len(l.items), max(len(l.items)-1, 1), len(l.items)+1)
	tag := m.shown[p.id].ETag
	t, header, query := m.someTerms(tag, nil, true)
	body := map[string]any{}
	if p.merge != nil {
		body["attributes"] = p.merge
	}
	if p.order > 0 {
		body["order"] = p.order
	}
	r := request{key: l.key, method: http.MethodPatch, path: "/preferences/" + p.id + query, body: body, header: header, once: m.someKey()}
	r.meaning = meaning("patch", p.id, p.order, p.merge, t.force)
	m.write(r, func() answer { return m.model.patchItem(l.key, p, tag, t) }, func(got prefstest.Answer, _ answer) {
		shown := m.item(l, l.find(withID(p.id)), got.Body)
		m.same("an item that was changed has another tag", `"`+shown.ETag+`"`, got.Header.Get("ETag"))
	})
}

// drop removes one item.
func (m *machine) drop() {
	l := m.filledList()
	id := m.someItem(l)
	tag := m.shown[id].ETag
	t, header, _ := m.someTerms(tag, nil, false)
	r := request{key: l.key, method: http.MethodDelete, path: "/preferences/" + id, header: header, once: m.someKey()}
	r.meaning = meaning("delete", id)
	m.write(r, func() answer { return m.model.remove(l.key, id, tag, t) }, func(got prefstest.Answer, _ answer) {
		m.same("a removal has an answer", "", string(got.Body))
	})
}

// batch changes several items.
func (m *machine) batch() {
	l := m.filledList()
	if len(l.items) == 0 {
		m.Skip("nothing to change")
	}
	ids := []string{}
	for _, it := range l.items {
		ids = append(ids, it.id)
	}
	ids = rapid.Permutation(ids).Draw(m.T, "items")[:rapid.IntRange(1, len(ids)).Draw(m.T, "n")]
	if m.chance("one unknown", 15) {
		ids = append(ids, nobody)
	}
	places := rapid.Permutation(numbers(len(l.items))).Draw(m.T, "places")
	var patches []patch
	var updates []map[string]any
	for i, id := range ids {
		p := patch{id: id, merge: m.someAttributes()}
		u := map[string]any{"id": id}
		if i < len(places) && m.chance("move", 2) {
			p.order = places[i]
			u["order"] = p.order
		}
		if p.etag = pick(m, "tag", "", "", m.shown[id].ETag, "stale"); p.etag != "" {
			u["etag"] = p.etag
		}
		if p.merge != nil {
			u["attributes"] = p.merge
		}
		patches, updates = append(patches, p), append(updates, u)
	}
	t, header, query := m.someTerms(m.tag(l), l.oldTags(), true)
	r := request{key: l.key, method: http.MethodPatch, path: "/preferences:batchUpdate" + query, header: header, once: m.someKey()}
	r.body = map[string]any{"domain": l.domain, "updates": updates}
	r.meaning = meaning("batch", l.domain, meaningOf(patches), t.force)
	m.write(r, func() answer {
		return m.model.batch(l.key, patches, m.tag(l), func(id string) string { return m.shown[id].ETag }, t)
	}, m.wholeList(l, false))
}

// meaningOf is what a batch does, its conditions aside.
func meaningOf(patches []patch) (out []any) {
	for _, p := range patches {
		out = append(out, p.id, p.order, p.merge)
	}
	return out
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// goBack makes a list what it was.
func (m *machine) goBack() {
	l := m.someList()
	n := rapid.IntRange(1, l.version()+1).Draw(m.T, "version")
	t, header, _ := m.someTerms(m.tag(l), l.oldTags(), false)
	r := request{key: l.key, method: http.MethodPost, path: "/preferences:restore", header: header, once: m.someKey()}
	r.body = map[string]any{"domain": l.domain, "version": n}
	r.meaning = meaning("restore", l.domain, n)
	m.write(r, func() answer { return m.model.restore(l.key, n, m.tag(l), t) }, func(got prefstest.Answer, want answer) {
		m.wholeList(l, false)(got, want)
		m.saw("versions brought back")
	})
}

// again sends a request again that had a key: as it was, with fresher conditions, or for something else.
func (m *machine) again() {
	var sent [][2]string
	for id := range m.model.keys {
		sent = append(sent, id)
	}
	if len(sent) == 0 {
		m.Skip("no key was used")
	}
	slices.SortFunc(sent, func(a, b [2]string) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	id := pick(m, "key", sent...)
	r := m.sent[id]
	switch pick(m, "how", "as it was", "fresher", "other") {
	case "fresher":
		r.header = []string{"Idempotency-Key", id[1], "If-Match", `"whatever"`}
	case "other":
		r = request{key: r.key, method: http.MethodPost, path: "/preferences", header: []string{"Idempotency-Key", id[1]}}
		r.body = map[string]any{"domain": r.key.domain, "entityId": m.name + "other"}
	}
	m.repeat(r, m.model.keys[id])
}

// slip sends a request that is wrong in itself.
func (m *machine) slip() {
	l := m.someList()
	a := m.accounts()[0]
	replace := func(items ...map[string]any) request {
		return request{method: http.MethodPut, path: "/preferences:batchReplace", body: map[string]any{"domain": l.domain, "preferences": items}}
	}
	slips := []struct {
		code string
		request
	}{
		{"DUPLICATE_ENTITY", replace(wish{account: a}.body(0), wish{account: a}.body(0))},
		{"ORDER_CONFLICT", replace(wish{account: a}.body(1), wish{account: "b"}.body(1))},
		{"INVALID_FIELD", replace(wish{account: a}.body(1), wish{account: "b"}.body(0))},
		{"INVALID_FIELD", replace(map[string]any{"entityId": a, "attributes": []int{}})},
		{"INVALID_FIELD", request{method: http.MethodPut, path: "/preferences:batchReplace", body: map[string]any{"domain": l.domain}}},
		{"UNKNOWN_DOMAIN", request{method: http.MethodPut, path: "/preferences:batchReplace", body: map[string]any{"domain": "nowhere", "preferences": []int{}}}},
		{"INVALID_FIELD", request{method: http.MethodPost, path: "/preferences:restore", body: map[string]any{"domain": l.domain, "version": 0}}},
		{"INVALID_FIELD", request{method: http.MethodPost, path: "/preferences", body: map[string]any{"domain": l.domain, "entityId": ""}}},
		{"INVALID_FIELD", request{method: http.MethodPatch, path: "/preferences:batchUpdate", body: map[string]any{"domain": l.domain, "updates": []int{}}}},
	}
	s := slips[rapid.IntRange(0, len(slips)-1).Draw(m.T, "slip")]
	m.refused(m.send(l.user, s.method, s.path, s.body), answer{status: http.StatusBadRequest, code: s.code, index: -1})
	m.saw("slips")
}
