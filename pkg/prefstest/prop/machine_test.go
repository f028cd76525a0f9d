package prop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// machine is one run: a sequence of what users, owners and operators do, to the server and to the model.
type machine struct {
	*rapid.T
	*world

	model   *model
	name    string // of the run, part of all names
	keys    []key
	callers map[string]*prefstest.Caller
	began   time.Time

	shown   map[string]preference // by id: how an item was shown last
	stands  map[string]string     // what a tag stands for
	tags    map[string]string     // and the other way round
	empty   map[key]string        // tags of lists that nobody has written to
	times   map[*list][]time.Time // of versions
	readers []*reader
	pager   *pager
	past    []said     // what owners have said
	due     *operation // waits for somebody to carry it out, or to take it back
	sent    map[[2]string]request
}

var people = []string{"alice", "bob"}

// owned are the lists of a run: two of one user, and one of another.
var owned = []key{{"alice", "accounts"}, {"bob", "accounts"}, {"alice", "pinned"}}

func (w *world) run(t *rapid.T) *machine {
	w.runs++
	m := &machine{
		T: t, world: w, name: fmt.Sprintf("%d-", w.runs), callers: map[string]*prefstest.Caller{}, began: time.Now().Truncate(time.Microsecond),
		shown: map[string]preference{}, stands: map[string]string{}, tags: map[string]string{}, empty: map[key]string{}, times: map[*list][]time.Time{},
		sent: map[[2]string]request{},
	}
	for _, k := range owned {
		m.keys = append(m.keys, key{m.name + k.user, k.domain})
	}
	for _, p := range people {
		m.callers[m.name+p] = w.caller(m.name + p)
	}
	m.callers["operator"] = w.caller("operator", "preferences.system", "preferences.admin")
	m.model = newModel(m.keys...)
	return m
}

// wrong ends the run. What is wrong is a sentence without names, so that rapid knows the same failure again while it looks for
// the shortest sequence; the details are logged.
func (m *machine) wrong(what string, details ...any) {
	m.Helper()
	m.Log(details...)
	m.Fatal(what)
}

// same ends the run if two values differ.
func (m *machine) same(what string, want, got any) {
	m.Helper()
	if reflect.DeepEqual(want, got) { // cmp takes its time, and is for what differs
		return
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(item{}, kept{}), cmpopts.EquateEmpty()); diff != "" {
		m.wrong(what, "-want +got:\n"+diff)
	}
}

func (m *machine) saw(what string) { m.seen[what]++ }

// send sends a request and logs it. No request of a run can be the server's fault.
func (m *machine) send(who, method, path string, body any, header ...string) prefstest.Answer {
	m.Helper()
	m.saw("requests")
	got, err := m.callers[who].Do(m.Context(), method, path, body, header...)
	if err != nil {
		m.wrong("no answer", method, path, err)
	}
	text, _ := json.Marshal(body)
	m.Logf("%s: %s %s %s %s -> %d %s %s", who, method, path, text, header, got.Status, got.Header.Get("ETag"), got.Body)
	if got.Status >= http.StatusInternalServerError {
		m.wrong("the server failed")
	}
	return got
}

// preference is an item as it is shown.
type preference struct {
	raw string

	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Domain     string     `json:"domain"`
	EntityID   string     `json:"entityId"`
	EntityType string     `json:"entityType"`
	Order      int        `json:"order"`
	Attributes attributes `json:"attributes"`
	CreateTime time.Time  `json:"createTime"`
	UpdateTime time.Time  `json:"updateTime"`
	Version    int        `json:"version"`
	ETag       string     `json:"etag"`
}

// shownList is a list as it is shown, whole, by pages, or after a write.
type shownList struct {
	Preferences   []json.RawMessage `json:"preferences"`
	NextPageToken *string           `json:"nextPageToken"`
	TotalSize     int               `json:"totalSize"`
	ETag          string            `json:"etag"`
	Version       int               `json:"version"`
	SyncToken     string            `json:"syncToken"`
	Summary       struct{ Created, Updated, Deleted, Total int }
	Skipped       []struct{ EntityID, EntityType, Reason string }
}

func (m *machine) decode(body []byte, into any) {
	m.Helper()
	if err := json.Unmarshal(body, into); err != nil {
		m.wrong("an answer is not what it should be", err)
	}
}

func (m *machine) preference(raw []byte) preference {
	m.Helper()
	p := preference{raw: strings.TrimSpace(string(raw))}
	m.decode(raw, &p)
	return p
}

// item holds an item that was shown against that of the model.
func (m *machine) item(l *list, at int, raw []byte) preference {
	m.Helper()
	p, it := m.preference(raw), l.items[at]
	m.same("an item is not the one of the model", item{account: it.account, order: it.order, attributes: it.attributes},
		item{account: p.EntityID, order: p.Order, attributes: p.Attributes})
	m.same("an item does not say where it belongs", []string{"preferences/" + p.ID, l.domain, account}, []string{p.Name, p.Domain, p.EntityType})
	switch old, known := m.shown[p.ID]; {
	case it.id == "" && known:
		m.wrong("a new item has the id of another one", p.ID)
	case it.id == "":
		l.learn(at, p.ID)
		if p.Version != 1 || !p.CreateTime.Equal(p.UpdateTime) {
			m.wrong("a new item is not at its first version", p.raw)
		}
	case it.id != p.ID:
		m.wrong("an item has another id than before", it.id, p.ID)
	case known:
		m.grown(old, p)
	}
	m.stand(p.ETag, strings.Replace(p.raw, `"etag":"`+p.ETag+`"`, "", 1))
	if p.ETag != itemTag(p) {
		m.wrong("the tag of an item is not made of its id, version, order and time", p.raw)
	}
	m.shown[p.ID] = p
	return p
}

// grown holds an item against how it was shown before: its version and its time move together, and never without need stay.
func (m *machine) grown(old, now preference) {
	m.Helper()
	same := reflect.DeepEqual(old.Attributes, now.Attributes)
	switch {
	case !now.CreateTime.Equal(old.CreateTime):
		m.wrong("an item has another time of creation than before", old.raw, now.raw)
	case now.Version == old.Version && (!same || !now.UpdateTime.Equal(old.UpdateTime)):
		m.wrong("an item is another one at the same version", old.raw, now.raw)
	case now.Version < old.Version, now.Version > old.Version && !now.UpdateTime.After(old.UpdateTime):
		m.wrong("an item goes back", old.raw, now.raw)
	}
}

// stand notes what a tag stands for: the same tag for the same body, and for no other.
func (m *machine) stand(tag, body string) {
	m.Helper()
	if was, known := m.stands[tag]; known && was != body {
		m.wrong("two bodies have one tag", tag, was, body)
	}
	if was, known := m.tags[body]; known && was != tag {
		m.wrong("one body has two tags", was, tag, body)
	}
	m.stands[tag], m.tags[body] = body, tag
}

// list holds a whole list that was shown against that of the model.
func (m *machine) list(l *list, got prefstest.Answer) shownList {
	m.Helper()
	var s shownList
	m.decode(got.Body, &s)
	if len(s.Preferences) != len(l.items) {
		m.wrong("a list has more or fewer items than in the model", l.items)
	}
	for i, raw := range s.Preferences {
		m.item(l, i, raw)
	}
	m.same("a list does not say how large it is, or at which version", []int{len(l.items), l.version()}, []int{s.TotalSize, s.Version})
	if s.NextPageToken != nil || s.SyncToken == "" {
		m.wrong("a whole list has another page, or no token to ask for changes with")
	}
	m.tagged(l, s.ETag, got)
	return s
}

// tagged notes the tag of a list, which the header has too.
func (m *machine) tagged(l *list, tag string, got prefstest.Answer) {
	m.Helper()
	m.same("the tag of the header is another one", `"`+tag+`"`, got.Header.Get("ETag"))
	m.stand(tag, fmt.Sprintf("%s's %s, begun as %d, version %d", l.user, l.domain, l.begun, l.version()))
	if l.version() > 0 {
		l.past[l.version()-1].tag = tag
	} else {
		m.empty[l.key] = tag
	}
}

// tag is that of a list as it is.
func (m *machine) tag(l *list) string {
	m.Helper()
	if l.version() > 0 {
		return l.past[l.version()-1].tag
	}
	return m.empty[l.key]
}

// fresh reads a list that has changed since it was shown last.
func (m *machine) fresh(l *list) *list {
	m.Helper()
	if m.tag(l) == "" {
		m.read(l.key)
	}
	return l
}

// read reads a whole list.
func (m *machine) read(k key) shownList {
	m.Helper()
	got := m.send(k.user, http.MethodGet, "/preferences?domain="+k.domain, nil)
	m.same("a list cannot be read", http.StatusOK, got.Status)
	return m.list(m.model.lists[k], got)
}

// problem is an error as it is answered.
type problem struct {
	Error struct {
		Code    string
		Details struct {
			CurrentEtag, ResourceName, ID string
			Index                         *int
		}
	}
}

// refused holds a refusal against what the model says.
func (m *machine) refused(got prefstest.Answer, want answer) problem {
	m.Helper()
	var p problem
	m.decode(got.Body, &p)
	m.same("a request is answered otherwise", fmt.Sprint(want.status, want.code), fmt.Sprint(got.Status, p.Error.Code))
	if want.index >= 0 {
		m.same("an error names another item of the batch", &want.index, p.Error.Details.Index)
	}
	m.saw(strings.ToLower(strings.ReplaceAll(want.code, "_", " ")))
	return p
}
