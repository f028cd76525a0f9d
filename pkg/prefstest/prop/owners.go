package prop

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kinds of what owners tell of.
const (
	account = "account"
	user    = "$user"
)

type entity struct{ kind, id string }

// state is what is known of an entity: of two things that were said the one about the later time counts, of two about the same
// time the one that was said last.
type state struct {
	deleted bool
	at      time.Time
	by      *operation // that came of the deletion, or recorded it; nil: none
}

// hear takes in what somebody says. What an owner has said is kept besides, by the same rule, for an operator's word may be
// taken back.
func (m *model) hear(e entity, s state) {
	said := []map[entity]state{m.knows}
	if s.by == nil || s.by.ofOwner() {
		said = append(said, m.owners)
	}
	for _, known := range said {
		if last, is := known[e]; !is || !s.at.Before(last.at) {
			known[e] = s
		}
	}
}

// Types of what is announced.
const (
	updated = "preferences.updated"
	cleaned = "preferences.cleaned"
	erased  = "preferences.erased"
	letter  = "dead.letter"
)

// event is something that has to be announced.
type event struct {
	typ string

	// Of preferences.updated.
	list    *list
	version int
	change  change

	// Of preferences.cleaned.
	account string
	by      *operation
	touched []touched

	user  string // of preferences.erased
	lists []*list

	record string // of a dead letter: the value that could not be used
}

// touched is a list from which a clean took something.
type touched struct {
	list    *list
	version int
}

// said is an owner's event.
type said struct {
	id      string
	about   entity
	deleted bool
	at      time.Time
	poison  bool // nobody can make anything of it
	record  string
	place   int64 // where it stands in its topic
}

// Outcomes of a delivery.
const (
	applied      = "applied"
	duplicate    = "duplicate"
	deadLettered = "dead_lettered"
)

// deliver takes an owner's event in. What was heard before does nothing; what is news of the past does not change what is
// known, and all the same a deletion is announced as cleaned. What nobody could make anything of may be sent again.
func (m *model) deliver(s said) (outcome string) {
	if place, is := m.heard[s.id]; is && (!s.poison || place == s.place) {
		return duplicate
	}
	m.heard[s.id] = s.place
	if s.poison {
		m.told = append(m.told, event{typ: letter, record: s.record})
		return deadLettered
	}
	if !s.deleted || s.about.kind == user {
		m.hear(s.about, state{deleted: s.deleted, at: s.at})
		if s.deleted && m.knows[s.about].deleted {
			m.erase(s.about.id)
		}
		return applied
	}
	op := &operation{cause: "event:" + s.id, accounts: []string{s.about.id}, since: []time.Time{s.at}, reorder: true}
	m.works = append(m.works, op)
	m.clean(op)
	return applied
}

// erase forgets everything about a user.
func (m *model) erase(id string) {
	var gone []*list
	for _, l := range m.inOrder() {
		if l.user == id {
			gone = append(gone, l)
			m.lists[l.key] = &list{key: l.key}
		}
	}
	for k := range m.keys {
		if k[0] == id {
			delete(m.keys, k)
		}
	}
	m.told = append(m.told, event{typ: erased, user: id, lists: gone})
}

// inOrder returns the lists that were begun, the first one first.
func (m *model) inOrder() []*list {
	var out []*list
	for _, l := range m.lists {
		if l.begun > 0 {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *list) int { return a.begun - b.begun })
	return out
}

// States of operations.
const (
	pending     = "pending"
	succeeded   = "succeeded"
	undoing     = "compensating"
	compensated = "compensated"
)

// operation takes accounts out of every list.
type operation struct {
	id       string // learned; empty: not yet
	cause    string // of an event's; an operator's is the operation itself
	accounts []string
	since    []time.Time // when the deletions count from
	reorder  bool
	state    string
	removed  []removal
	counts   []int // items that were removed, by account
}

// removal is an item that an operation took from a list, in the version that it made.
type removal struct {
	touched
	item item
}

// ofOwner says whether an owner's event made the operation.
func (o *operation) ofOwner() bool { return o != nil && o.cause != "" }

// why names the cause of what the operation does.
func (o *operation) why() string {
	if o.cause != "" {
		return o.cause
	}
	return o.self()
}

func (o *operation) self() string { return "operation:" + strings.TrimPrefix(o.id, "operations/") }

// order makes an operator's operation. It counts as of now, and after all that is known.
func (m *model) order(now time.Time, reorder bool, accounts ...string) *operation {
	op := &operation{accounts: accounts, reorder: reorder, state: pending}
	for _, a := range accounts {
		at := now
		if known := m.knows[entity{account, a}].at; !known.Before(at) {
			at = known.Add(time.Microsecond)
		}
		op.since = append(op.since, at)
	}
	m.works = append(m.works, op)
	return op
}

// clean carries an operation out.
func (m *model) clean(op *operation) {
	for i, a := range op.accounts {
		m.hear(entity{account, a}, state{true, op.since[i], op})
		e := event{typ: cleaned, account: a, by: op}
		if m.knows[entity{account, a}].deleted {
			for _, l := range m.inOrder() {
				e.touched = append(e.touched, m.take(l, a, op)...)
			}
		}
		op.counts = append(op.counts, len(e.touched))
		m.told = append(m.told, e)
	}
	op.state = succeeded
}

// take removes an account from a list. The other numbers close up, or stay as they are.
func (m *model) take(l *list, a string, op *operation) []touched {
	at := l.find(ofAccount(a))
	if at < 0 {
		return nil
	}
	gone := l.items[at]
	after := slices.Delete(slices.Clone(l.items), at, at+1)
	if op.reorder {
		for i := range after {
			after[i].order = i + 1
		}
	}
	m.commit(write{list: l, action: "clean", by: op}, after, !op.reorder)
	t := touched{l, l.version()}
	op.removed = append(op.removed, removal{t, gone})
	return []touched{t}
}

// affected are the users from whom the operation took something, sorted.
func (o *operation) affected() []string {
	users := []string{}
	for _, r := range o.removed {
		users = append(users, r.list.user)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// undo takes back what an operation did: its accounts count as their owner says, unless somebody said more about them since, and
// come back into the lists that still exist if they are there.
func (m *model) undo(op *operation) {
	for _, a := range op.accounts {
		e := entity{account, a}
		if s := m.owners[e]; s.deleted && s.by == op {
			m.owners[e] = state{at: s.at.Add(time.Microsecond)}
		}
		if s := m.knows[e]; s.deleted && s.by == op {
			m.knows[e] = m.owners[e]
		}
	}
	for _, l := range m.inOrder() {
		var mine []removal
		for _, r := range op.removed {
			if r.list == l {
				mine = append(mine, r)
			}
		}
		if len(mine) > 0 {
			m.write(write{list: l, wanted: l.putBack(mine), action: "restore", by: op}, http.StatusOK)
		}
	}
	op.state = compensated
}

// putBack is the list with what was taken from it. If nothing has happened since, it is what it was; else each item goes where
// it stood, or to the end, and what somebody has put back before stays.
func (l *list) putBack(mine []removal) []wish {
	if mine[len(mine)-1].version == l.version() {
		return wishesFor(l.at(mine[0].version - 1).items)
	}
	wanted := l.wishes()
	for _, r := range slices.Backward(mine) {
		if slices.ContainsFunc(wanted, func(w wish) bool { return w.account == r.item.account }) {
			continue
		}
		wanted = slices.Insert(wanted, min(r.item.order-1, len(wanted)), wish{r.item.account, r.item.attributes})
	}
	return wanted
}
