package prop

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// story is what really happened to accounts and users, as their owner tells it, and the order in which it is heard.
type story struct {
	last  map[entity]said // the last thing that happened to each
	heard []said          // shuffled, some of it again and again
}

// someStory draws what happened. Its times grow, so that the last event of each is the truth, whenever it is heard.
func (m *machine) someStory() story {
	s := story{last: map[entity]said{}}
	about := []entity{{account, m.accounts()[0]}, {account, m.accounts()[1]}, {account, m.accounts()[2]}, {user, m.name + people[1]}}
	at := m.began.Add(longAgo)
	for range rapid.IntRange(1, 8).Draw(m.T, "events") {
		at = at.Add(time.Duration(rapid.IntRange(1, 3).Draw(m.T, "later")) * tick)
		e := pick(m, "about", about...)
		x := m.event(e, !s.last[e].deleted, at)
		s.last[e] = x
		for range rapid.IntRange(1, 3).Draw(m.T, "times heard") {
			s.heard = append(s.heard, x)
		}
	}
	s.heard = rapid.Permutation(s.heard).Draw(m.T, "order")
	return s
}

// meanwhile is what users do while a story is told.
var meanwhile = saving.with(actions{"change": (*machine).change, "go back": (*machine).goBack})

// stream delivers a story out of order, late and twice, while users save. At the end all that counts is what really happened.
func (m *machine) stream() {
	m.furnish()
	s := m.someStory()
	var latest time.Time
	for _, x := range s.heard {
		for range rapid.IntRange(0, 1).Draw(m.T, "meanwhile") {
			meanwhile[pick(m, "what", slices.Sorted(maps.Keys(meanwhile))...)](m)
		}
		m.tell(x)
		if x.at.Before(latest) {
			m.saw("events out of order")
		}
		latest = x.at
	}
	for e, x := range s.last {
		m.same("an entity is not as its owner told last", x.deleted, m.model.knows[e].deleted)
	}
	m.probe(m.fresh(m.model.lists[m.keys[0]]))
	for _, k := range m.keys {
		if m.model.knows[entity{user, k.user}].deleted {
			m.refused(m.rehearsal(k, []map[string]any{wish{account: m.name + "new"}.body(0)}), forbidden)
		}
	}
}

func (m *machine) rehearsal(k key, items []map[string]any) prefstest.Answer {
	m.Helper()
	return m.send(k.user, http.MethodPut, "/preferences:batchReplace?validateOnly=true", map[string]any{"domain": k.domain, "preferences": items})
}

// probe asks the server which accounts count as deleted: a save would leave them out.
func (m *machine) probe(l *list) {
	m.Helper()
	var items []map[string]any
	var want []string
	for _, a := range m.accounts() {
		items = append(items, wish{account: a}.body(0))
		if m.model.knows[entity{account, a}].deleted {
			want = append(want, a)
		}
	}
	var s shownList
	m.decode(m.rehearsal(l.key, items).Body, &s)
	var got []string
	for _, x := range s.Skipped {
		got = append(got, x.EntityID)
	}
	m.same("other accounts count as deleted", want, got)
	for _, other := range m.model.lists {
		for _, a := range want {
			if other.find(ofAccount(a)) >= 0 {
				m.wrong("a deleted account stands in a list", a)
			}
		}
	}
}
