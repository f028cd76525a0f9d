package prop

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
)

// key names a list.
type key struct{ user, domain string }

// attributes of an item, as encoding/json decodes an object.
type attributes = map[string]any

// item is a preference as its reader sees it, as far as a model can know.
type item struct {
	account    string
	order      int
	attributes attributes
	id         string // learned from the first answer that shows the item
}

// list is what a user has in a domain, from the first write until the user is erased.
type list struct {
	key
	begun int // 1 for the list that was begun first, and so on; 0 before its first write
	items []item
	gaps  bool      // the orders show where items were taken away
	past  []version // all of them: number n stands at n-1
	id    int64     // learned from the first event that names the list
}

// version is a list as one write left it.
type version struct {
	items  []item
	gaps   bool
	action string
	actor  string     // empty: the operation's cause
	by     *operation // that made it; nil: none
	forced bool
	tag    string // learned from the first answer that names the version
}

func (l *list) version() int { return len(l.past) }

// at is the list as it was in a version; nothing before the first.
func (l *list) at(n int) version {
	if n == 0 {
		return version{}
	}
	return l.past[n-1]
}

// find returns where the item stands that is about an account, or has an id; -1: nowhere.
func (l *list) find(is func(item) bool) int { return slices.IndexFunc(l.items, is) }

func ofAccount(account string) func(item) bool {
	return func(it item) bool { return it.account == account }
}

func withID(id string) func(item) bool { return func(it item) bool { return it.id == id } }

// wish is one item of the list that a writer wants.
type wish struct {
	account    string
	attributes attributes // nil keeps what is there
}

// wishes is the list as it is, to be changed by a writer.
func (l *list) wishes() []wish {
	out := make([]wish, len(l.items))
	for i, it := range l.items {
		out[i] = wish{account: it.account}
	}
	return out
}

// change is what a write did.
type change struct {
	created, updated, deleted []string // accounts
	fields                    []string // of items that stayed
}

func (c change) empty() bool { return len(c.created)+len(c.updated)+len(c.deleted) == 0 }

// condition is a precondition as it is sent: a header, and in it one tag or a star. The zero value is none.
type condition struct{ header, value string }

// holds says whether the condition is met by what has this tag. An empty list has a tag, and is nothing that a star names.
func (c condition) holds(tag string, exists bool) bool {
	names := c.value == tag
	if c.value == "*" {
		names = exists
	}
	return c.header == "" || names == (c.header == "If-Match")
}

// terms are what a write is subject to.
type terms struct {
	condition
	force bool // the condition does not count, and the history says so
}

// answer is how a request has to be answered.
type answer struct {
	status  int
	code    string // of an error
	index   int    // in a batch, what the error is about
	change  change
	after   []item   // of a rehearsal: the list as it would be
	skipped []string // deleted accounts that were left out
}

func refused(status int, code string) answer { return answer{status: status, code: code, index: -1} }

var (
	notFound     = refused(http.StatusNotFound, "NOT_FOUND")
	outside      = refused(http.StatusBadRequest, "INVALID_FIELD")
	failed       = refused(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	listed       = refused(http.StatusConflict, "ALREADY_EXISTS")
	deleted      = refused(http.StatusConflict, "ENTITY_DELETED")
	forbidden    = refused(http.StatusForbidden, "USER_DELETED")
	reused       = refused(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
	tokenExpired = refused(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	finished     = refused(http.StatusConflict, "OPERATION_FINISHED")
)

// kept is the answer to a request that came with an Idempotency-Key.
type kept struct {
	meaning              string
	status               int
	body, etag, location string
}

// model is the whole service.
type model struct {
	lists  map[key]*list
	begun  int // lists so far
	knows  map[entity]state
	owners map[entity]state // what the owners have said last
	heard  map[string]int64 // owners' events, by id: where they stood
	keys   map[[2]string]*kept
	works  []*operation
	told   []event // announced, in order
}

func newModel(lists ...key) *model {
	m := &model{lists: map[key]*list{}, knows: map[entity]state{}, owners: map[entity]state{}, heard: map[string]int64{}, keys: map[[2]string]*kept{}}
	for _, k := range lists {
		m.lists[k] = &list{key: k}
	}
	return m
}

// plan is what a list becomes when a writer gets what it wants.
func (l *list) plan(wanted []wish) (after []item, gaps bool, c change) {
	same := len(wanted) == len(l.items)
	for i := 0; same && i < len(wanted); i++ {
		same = wanted[i].account == l.items[i].account
	}
	fields := map[string]bool{}
	for i, w := range wanted {
		next := item{account: w.account, order: i + 1, attributes: attributes{}}
		at := l.find(ofAccount(w.account))
		if at >= 0 {
			next.id, next.attributes = l.items[at].id, l.items[at].attributes
		}
		if same && l.gaps { // the numbers that readers see stay until items come, go or move
			next.order = l.items[i].order
		}
		if w.attributes != nil {
			next.attributes = w.attributes
		}
		after = append(after, next)
		if at < 0 {
			c.created = append(c.created, w.account)
		} else if differ(l.items[at], next, fields) {
			c.updated = append(c.updated, w.account)
		}
	}
	for _, it := range l.items {
		if !slices.ContainsFunc(after, ofAccount(it.account)) {
			c.deleted = append(c.deleted, it.account)
		}
	}
	c.fields = slices.Sorted(maps.Keys(fields))
	return after, same && l.gaps, c
}

// differ says whether a reader sees another item than before, and collects in what.
func differ(before, after item, fields map[string]bool) bool {
	seen := before.order != after.order
	if seen {
		fields["order"] = true
	}
	for _, names := range []attributes{before.attributes, after.attributes} {
		for name := range names {
			a, had := before.attributes[name]
			b, has := after.attributes[name]
			if had != has || !reflect.DeepEqual(a, b) {
				fields["attributes."+name], seen = true, true
			}
		}
	}
	return seen
}

// write is a change of a list on the way.
type write struct {
	list   *list
	wanted []wish
	action string
	actor  string
	by     *operation
	forced bool
	strict bool // adding a deleted account is an error
	dry    bool // nothing is written
}

// write does it, and announces it.
func (m *model) write(w write, status int) answer {
	l := w.list
	if _, _, c := l.plan(w.wanted); c.empty() {
		return answer{status: status, change: c, after: l.items, index: -1}
	}
	if l.version() == 0 && m.knows[entity{user, l.user}].deleted {
		return forbidden
	}
	var skipped []string
	var live []wish
	for _, x := range w.wanted {
		if m.knows[entity{account, x.account}].deleted {
			skipped = append(skipped, x.account)
		} else {
			live = append(live, x)
		}
	}
	if w.strict && len(skipped) > 0 {
		return deleted
	}
	after, gaps, c := l.plan(live)
	if !c.empty() && !w.dry {
		m.commit(w, after, gaps)
		m.told = append(m.told, event{typ: updated, list: l, version: l.version(), change: c})
	}
	return answer{status: status, change: c, after: after, skipped: skipped, index: -1}
}

// commit makes the next version.
func (m *model) commit(w write, after []item, gaps bool) {
	l := w.list
	if l.begun == 0 {
		m.begun++
		l.begun = m.begun
	}
	l.items, l.gaps = after, gaps
	l.past = append(l.past, version{items: slices.Clone(after), gaps: gaps, action: w.action, actor: w.actor, by: w.by, forced: w.forced})
}

// learn takes in ids that an answer shows, so that the version has them too.
func (l *list) learn(at int, id string) {
	l.items[at].id = id
	for n := len(l.past) - 1; n >= 0; n-- {
		i := slices.IndexFunc(l.past[n].items, ofAccount(l.items[at].account))
		if i < 0 || l.past[n].items[i].id != "" {
			return
		}
		l.past[n].items[i].id = id
	}
}
