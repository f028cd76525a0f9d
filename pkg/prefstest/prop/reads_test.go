package prop

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// reader is somebody who keeps a copy of a list and asks for what has changed.
type reader struct {
	list    *list
	version int // at which the copy was made
	copy    map[string]string
	token   string
	loose   bool // it was made of pages between which the list changed
}

// copied makes a copy of a list as it is shown.
func (m *machine) copied(l *list) map[string]string {
	out := map[string]string{}
	for _, it := range l.items {
		out[it.id] = m.shown[it.id].raw
	}
	return out
}

// follow begins to keep a copy of a list.
func (m *machine) follow() {
	l := m.someList()
	s := m.read(l.key)
	m.saw("copies")
	m.readers = append(m.readers, &reader{list: l, version: l.version(), copy: m.copied(l), token: s.SyncToken})
}

// catchUp asks for what has changed since a copy was made.
func (m *machine) catchUp() {
	if len(m.readers) == 0 {
		m.follow()
		return
	}
	m.difference(m.readers[rapid.IntRange(0, len(m.readers)-1).Draw(m.T, "reader")])
}

// difference brings a copy up to date: with exactly what differs it is the list. Of a list that was erased no token tells.
func (m *machine) difference(r *reader) {
	m.Helper()
	l := m.fresh(m.model.lists[r.list.key])
	got := m.send(l.user, http.MethodGet, "/preferences?domain="+l.domain+"&syncToken="+url.QueryEscape(r.token), nil)
	if l != r.list && r.version > 0 {
		m.refused(got, tokenExpired)
		m.readers = slices.DeleteFunc(m.readers, func(x *reader) bool { return x == r })
		return
	}
	m.same("changes cannot be read", http.StatusOK, got.Status)
	var d struct {
		Changed   []json.RawMessage
		Removed   []struct{ ID, EntityID, EntityType string }
		SyncToken string
		ETag      string
		Version   int
	}
	m.decode(got.Body, &d)
	changed, removed := map[string]string{}, map[string]bool{}
	for _, raw := range d.Changed {
		p := m.preference(raw)
		changed[p.ID] = p.raw
	}
	for _, g := range d.Removed {
		removed[g.ID] = true
	}
	now := m.copied(l)
	if !r.loose {
		differs, gone := maps.Clone(now), map[string]bool{}
		maps.DeleteFunc(differs, func(id, raw string) bool { return r.copy[id] == raw })
		for id := range r.copy {
			if _, there := now[id]; !there {
				gone[id] = true
			}
		}
		m.same("changes are not what differs", differs, changed)
		m.same("other items have to be forgotten", gone, removed)
	}
	maps.Copy(r.copy, changed)
	maps.DeleteFunc(r.copy, func(id, _ string) bool { return removed[id] })
	m.same("a copy that took in the changes is not the list", now, r.copy)
	m.same("changes have another tag or version than the list", []string{m.tag(l), fmt.Sprint(l.version())}, []string{d.ETag, fmt.Sprint(d.Version)})
	if l.version() > r.version {
		m.saw("copies brought up to date")
	}
	r.list, r.version, r.token, r.loose = l, l.version(), d.SyncToken, false
}

// pager is somebody who reads a list page by page, while it may change.
type pager struct {
	list  *list
	size  int
	token string
	copy  map[string]string
	first map[string]string // the list when the first page was read
	since int               // its version then
}

// turnPage reads the next page of a list, by order.
func (m *machine) turnPage() {
	if m.pager == nil {
		l := m.filledList()
		m.pager = &pager{list: l, size: rapid.IntRange(1, 3).Draw(m.T, "size"), copy: map[string]string{}, first: m.copied(l), since: l.version()}
	}
	p := m.pager
	l := m.fresh(m.model.lists[p.list.key])
	got := m.send(l.user, http.MethodGet, fmt.Sprintf("/preferences?domain=%s&pageSize=%d", l.domain, p.size)+behind(p.token), nil)
	if l != p.list && p.token != "" {
		m.refused(got, answer{status: http.StatusBadRequest, code: "INVALID_PAGE_TOKEN", index: -1})
		m.pager = nil
		return
	}
	m.same("a page cannot be read", http.StatusOK, got.Status)
	var s shownList
	m.decode(got.Body, &s)
	for _, raw := range s.Preferences {
		x := m.preference(raw)
		if _, twice := p.copy[x.ID]; twice {
			m.wrong("an item stands on two pages", x.raw)
		}
		m.same("a page shows an item otherwise than the list", m.shown[x.ID].raw, x.raw)
		p.copy[x.ID] = x.raw
	}
	if s.NextPageToken != nil {
		p.token = *s.NextPageToken
		return
	}
	for id := range m.copied(l) {
		_, was := p.first[id]
		if _, is := p.copy[id]; was && !is {
			m.wrong("an item stands on no page that was there all the time", id)
		}
	}
	m.saw("lists read by pages")
	if l.version() > p.since {
		m.saw("lists that changed from page to page")
	}
	m.pager = nil
	m.difference(&reader{list: l, version: l.version(), copy: p.copy, token: s.SyncToken, loose: true})
}

// behind asks for the page behind a token; for the first one if there is none.
func behind(token string) string {
	if token == "" {
		return ""
	}
	return "&pageToken=" + url.QueryEscape(token)
}

// sorted reads a list in another order, or a part of it.
func (m *machine) sorted() {
	l := m.filledList()
	by := pick(m, "by", "order", "createTime", "updateTime", "entityId")
	down := m.chance("down", 2)
	filter, fits := m.someFilter()
	var want []preference
	for _, it := range l.items {
		if fits(it) {
			want = append(want, m.shown[it.id])
		}
	}
	slices.SortFunc(want, func(a, b preference) int {
		c := compare(a, b, by)
		if down {
			return -c
		}
		return c
	})
	query := url.Values{"domain": {l.domain}, "sortBy": {by}, "sortOrder": {"asc"}, "pageSize": {"2"}}
	if filter != "" {
		query.Set("filter", filter)
	}
	if down {
		query.Set("sortOrder", "desc")
	}
	got := []string{}
	for more := true; more; {
		a := m.send(l.user, http.MethodGet, "/preferences?"+query.Encode(), nil)
		m.same("a sorted list cannot be read", http.StatusOK, a.Status)
		var s shownList
		m.decode(a.Body, &s)
		m.same("a page counts other items", len(want), s.TotalSize)
		for _, raw := range s.Preferences {
			got = append(got, strings.TrimSpace(string(raw)))
		}
		if more = s.NextPageToken != nil; more {
			query.Set("pageToken", *s.NextPageToken)
		}
	}
	raws := []string{}
	for _, p := range want {
		raws = append(raws, p.raw)
	}
	m.same("a list is sorted otherwise", raws, got)
	m.saw("sorted reads")
}

// compare orders two items, those that are equal by their ids.
func compare(a, b preference, by string) int {
	var c int
	switch by {
	case "order":
		c = a.Order - b.Order
	case "createTime":
		c = a.CreateTime.Compare(b.CreateTime)
	case "updateTime":
		c = a.UpdateTime.Compare(b.UpdateTime)
	default:
		c = strings.Compare(a.EntityID, b.EntityID)
	}
	if c == 0 {
		c = strings.Compare(a.ID, b.ID)
	}
	return c
}

// someFilter draws a filter and what it means.
func (m *machine) someFilter() (text string, fits func(item) bool) {
	switch pick(m, "filter", "", "account", "number", "truth") {
	case "account":
		a := pick(m, "account", m.accounts()...)
		return `entityId = "` + a + `"`, ofAccount(a)
	case "number":
		return "attributes.a = 1", func(it item) bool { return it.attributes["a"] == 1.0 }
	case "truth":
		return "attributes.b = true", func(it item) bool { return it.attributes["b"] == true }
	default:
		return "", func(item) bool { return true }
	}
}

// look reads an item or a list with a condition, or another user's.
func (m *machine) look() {
	l := m.filledList()
	path, tag, exists := "/preferences?domain="+l.domain, m.tag(l), l.version() > 0
	if len(l.items) > 0 && m.chance("item", 2) {
		id := m.someItem(l)
		path, tag, exists = "/preferences/"+id, m.shown[id].ETag, true
		if l.find(withID(id)) < 0 {
			m.refused(m.send(l.user, http.MethodGet, path, nil), notFound)
			return
		}
	}
	c := condition{pick(m, "header", "If-Match", "If-None-Match"), pick(m, "value", tag, "stale", "*")}
	value := c.value
	if value != "*" {
		value = `"` + value + `"`
	}
	got := m.send(l.user, pick(m, "method", http.MethodGet, http.MethodHead), path, nil, c.header, value)
	want := http.StatusOK
	if !c.holds(tag, exists) {
		want = http.StatusNotModified
		if c.header == "If-Match" {
			want = http.StatusPreconditionFailed
		}
	}
	m.same("a read with a condition is answered otherwise", want, got.Status)
	m.same("a read with a condition has another tag", `"`+tag+`"`, got.Header.Get("ETag"))
	m.saw("reads with a condition")
	if want == http.StatusNotModified {
		m.saw("reads that find nothing new")
	}
}

// changeJSON is a version as the history shows it.
type changeJSON struct {
	Version                  int
	Time                     time.Time
	Action, Actor, Operation string
	Forced, Gaps             bool
	Delta                    delta
}

// history reads all versions of a list, and what led from each to the next.
func (m *machine) history(l *list, size int) {
	m.Helper()
	var all []changeJSON
	query := fmt.Sprintf("/preferences:history?domain=%s&pageSize=%d", l.domain, size)
	for token := ""; ; {
		got := m.send(l.user, http.MethodGet, query+behind(token), nil)
		m.same("the history cannot be read", http.StatusOK, got.Status)
		var page struct {
			Changes       []changeJSON
			NextPageToken *string
		}
		m.decode(got.Body, &page)
		all = append(all, page.Changes...)
		if page.NextPageToken == nil {
			break
		}
		token = *page.NextPageToken
	}
	slices.Reverse(all)
	m.same("the history has more or fewer versions", l.version(), len(all))
	m.times[l] = nil
	for i, c := range all {
		m.version(l, i+1, c)
		if i > 0 && !c.Time.After(all[i-1].Time) {
			m.wrong("a version is no later than the one before")
		}
		m.times[l] = append(m.times[l], c.Time)
	}
	m.saw("histories")
}

// version holds a version of the history against that of the model, and follows its delta forth and back.
func (m *machine) version(l *list, n int, c changeJSON) {
	m.Helper()
	was, v := l.at(n-1), l.at(n)
	actor, operation := v.actor, ""
	if v.by != nil {
		m.named(v.by)
		actor, operation = v.by.why(), v.by.id
		if v.action == "restore" {
			actor = v.by.self()
		}
	}
	m.same("the history says otherwise who did what", fmt.Sprint(n, v.action, actor, operation, v.forced, v.gaps),
		fmt.Sprint(c.Version, c.Action, c.Actor, c.Operation, c.Forced, c.Gaps))
	m.same("a delta does not lead to its version", v.items, c.Delta.apply(was.items, after, v.gaps))
	m.same("a delta does not lead back to the version before", was.items, c.Delta.apply(v.items, before, was.gaps))
}

// readHistory reads the history of some list.
func (m *machine) readHistory() {
	m.history(m.someList(), rapid.IntRange(1, 5).Draw(m.T, "size"))
}
