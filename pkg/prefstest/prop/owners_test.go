package prop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/events"
)

// tell delivers an owner's event to the consumer and to the model.
func (m *machine) tell(s said) {
	m.Helper()
	topic := accountEvents
	if s.about.kind == user {
		topic = userEvents
	}
	r := events.Record{Topic: topic, Partition: 1, Offset: s.place, Time: time.Now(), Key: []byte(s.about.id), Value: []byte(s.record)}
	m.Logf("%s: %s", topic, s.record)
	if err := m.consumer.Settle(m.Context(), r, 1); err != nil {
		m.wrong("an event was not settled", err)
	}
	works, told := len(m.model.works), len(m.model.told)
	m.same("another thing became of an event", m.model.deliver(s), string(m.outcome))
	m.saw("events " + string(m.outcome))
	for _, op := range m.model.works[works:] {
		if len(op.removed) > 0 {
			m.saw("deletions that met a list")
		}
	}
	for _, e := range m.model.told[told:] {
		if len(e.lists) > 0 {
			m.saw("users erased")
		}
	}
}

// Times of owners' events lie before all that operators do, or after; never far ahead.
const (
	longAgo  = -time.Hour
	soon     = 2 * time.Minute
	tick     = time.Second
	moments  = 6
	tooEarly = time.Hour // ahead of us: no owner can know that
)

// verbs say that something is there.
var verbs = map[string][]string{account: {"created", "restored"}, user: {"created"}}

// event makes an owner's event.
func (m *machine) event(about entity, deleted bool, at time.Time) said {
	s := said{id: fmt.Sprintf("%s%d", m.name, len(m.past)), about: about, deleted: deleted, at: at.UTC()}
	noun, field := "account", "accountId"
	if about.kind == user {
		noun, field = "user", "userId"
	}
	verb := "deleted"
	if !deleted {
		verb = pick(m, "verb", verbs[about.kind]...)
	}
	value, err := json.Marshal(map[string]any{
		"eventType": noun + "." + verb, "eventId": s.id, "timestamp": s.at.Format(time.RFC3339Nano), "data": map[string]any{field: about.id},
	})
	if err != nil {
		m.wrong("an event cannot be spelled", err)
	}
	m.offset++
	s.record, s.place = string(value), m.offset
	m.past = append(m.past, s)
	return s
}

// someMoment draws a time: few of them, so that two events may name the same.
func (m *machine) someMoment() time.Time {
	at := m.began.Add(longAgo)
	if m.chance("soon", 6) {
		at = m.began.Add(soon)
	}
	return at.Add(time.Duration(rapid.IntRange(0, moments-1).Draw(m.T, "moment")) * tick)
}

// accountEvent is an account that was deleted, or made again.
func (m *machine) accountEvent() {
	e := entity{account, pick(m, "account", m.accounts()...)}
	m.tell(m.event(e, !m.chance("there", 3), m.someMoment()))
}

// userEvent is a user who was deleted, or comes back.
func (m *machine) userEvent() {
	e := entity{user, m.name + pick(m, "user", people...)}
	m.tell(m.event(e, !m.chance("there", 2), m.someMoment()))
}

// oldEvent is delivered again, or its owner sends it again.
func (m *machine) oldEvent() {
	if len(m.past) == 0 {
		m.Skip("no event yet")
	}
	s := m.past[rapid.IntRange(0, len(m.past)-1).Draw(m.T, "event")]
	if m.chance("sent again", 2) {
		m.offset++
		s.place = m.offset
	}
	m.tell(s)
}

// poison is an event that nobody can make anything of.
func (m *machine) poison() {
	e := entity{account, pick(m, "account", m.accounts()...)}
	at := m.began
	if m.chance("too early", 2) {
		at = at.Add(tooEarly)
	} else {
		e.id = "no id"
	}
	s := m.event(e, true, at)
	s.poison = true
	m.past[len(m.past)-1] = s
	m.tell(s)
}

// operationJSON is an operation as it is shown.
type operationJSON struct {
	Name     string
	Done     bool
	Metadata struct{ State, Cause, Actor string }
	Response *cleanReport
}

type cleanReport struct {
	Summary struct {
		TotalEntities, TotalPreferencesDeleted, AffectedUsers int
		Errors                                                []json.RawMessage
	}
	Details []struct {
		EntityID, EntityType              string
		PreferencesDeleted, AffectedUsers int
	}
}

// named learns the name of an operation.
func (m *machine) named(op *operation) {
	m.Helper()
	if op.id != "" {
		return
	}
	var page struct{ Operations []operationJSON }
	got := m.send("operator", http.MethodGet, "/operations?pageSize=200", nil)
	m.same("operations cannot be read", http.StatusOK, got.Status)
	m.decode(got.Body, &page)
	for _, o := range page.Operations {
		for _, known := range m.model.works {
			if known.cause != "" && known.cause == o.Metadata.Cause {
				known.id = o.Name
			}
		}
	}
	if op.cause == "" && len(page.Operations) > 0 {
		op.id = page.Operations[0].Name // it is the newest, and nobody else makes any
	}
	if op.id == "" {
		m.wrong("an operation is not shown", op.accounts)
	}
}

// finish carries out what waits.
func (m *machine) finish() {
	m.Helper()
	if m.due == nil {
		return
	}
	op := m.due
	m.due = nil
	m.Logf("the runner works")
	if err := m.work(m.Context()); err != nil {
		m.wrong("an operation cannot be carried out", err)
	}
	if op.state == undoing {
		m.model.undo(op)
		m.back(op)
	} else {
		m.model.clean(op)
	}
	got := m.send("operator", http.MethodGet, "/"+op.id, nil)
	var o operationJSON
	m.decode(got.Body, &o)
	m.same("an operation ended otherwise", op.state, o.Metadata.State)
}

// back reads the lists that were given something back: its ids are new.
func (m *machine) back(op *operation) {
	m.Helper()
	for _, r := range op.removed {
		if l := m.model.lists[r.list.key]; l == r.list {
			m.fresh(l)
			m.saw("undone cleans that had met a list")
		}
	}
}

// runner carries out what waits, in its own time.
func (m *machine) runner() {
	if m.due == nil {
		m.Skip("nothing waits")
	}
	m.finish()
}

// clean is an operator who takes an account out of all lists.
func (m *machine) clean() {
	m.finish()
	a := pick(m, "account", m.accounts()...)
	reorder := !m.chance("gaps", 2)
	body := map[string]any{"entityId": a, "entityType": account, "reorder": reorder}
	if m.chance("rehearse", 5) {
		held := 0
		for _, l := range m.model.lists {
			if l.find(ofAccount(a)) >= 0 {
				held++
			}
		}
		got := m.send("operator", http.MethodPost, "/preferences:cleanOrphaned?validateOnly=true", body)
		m.cleaned(got.Status, got.Body, held, []string{}, reorder)
		return
	}
	op := m.model.order(time.Now().UTC().Truncate(time.Microsecond), reorder, a)
	got := m.send("operator", http.MethodPost, "/preferences:cleanOrphaned", body)
	m.model.clean(op)
	m.cleaned(got.Status, got.Body, len(op.removed), op.affected(), reorder)
	m.named(op)
	m.met(op)
}

// met counts a clean.
func (m *machine) met(op *operation) {
	if len(op.removed) > 0 {
		m.saw("cleans that met a list")
	}
	if !op.reorder && len(op.removed) > 0 {
		m.saw("cleans that left gaps")
	}
}

func (m *machine) cleaned(status int, body []byte, n int, users []string, reorder bool) {
	m.Helper()
	m.same("a clean is answered otherwise", http.StatusOK, status)
	type report struct {
		Deleted       int
		AffectedUsers []string
		Reordered     bool
	}
	var got report
	m.decode(body, &got)
	m.same("a clean did something else", report{n, users, reorder}, got)
}

// cleanMany is an operator who takes accounts out of all lists, and waits for it or does not.
func (m *machine) cleanMany() {
	m.finish()
	all := rapid.Permutation(m.accounts()).Draw(m.T, "accounts")[:rapid.IntRange(1, 3).Draw(m.T, "n")]
	reorder := !m.chance("gaps", 2)
	later := m.chance("later", 2)
	var entities []map[string]any
	for _, a := range append(all, all[0]) { // one is named twice, and cleaned once
		entities = append(entities, map[string]any{"entityId": a, "entityType": account})
	}
	op := m.model.order(time.Now().UTC().Truncate(time.Microsecond), reorder, all...)
	body := map[string]any{"entities": entities, "reorder": reorder}
	if later {
		got := m.send("operator", http.MethodPost, "/preferences:bulkCleanOrphaned", body, "Prefer", "respond-async")
		m.same("a clean that may wait is answered otherwise", http.StatusAccepted, got.Status)
		op.id = strings.TrimPrefix(got.Header.Get("Location"), "/")
		m.due = op
		m.saw("cleans that wait")
		return
	}
	got := m.send("operator", http.MethodPost, "/preferences:bulkCleanOrphaned", body)
	m.same("a clean of many is answered otherwise", http.StatusOK, got.Status)
	m.model.clean(op)
	var r cleanReport
	m.decode(got.Body, &r)
	m.same("a clean of many did something else", fmt.Sprint(len(all), len(op.removed), len(op.affected()), 0),
		fmt.Sprint(r.Summary.TotalEntities, r.Summary.TotalPreferencesDeleted, r.Summary.AffectedUsers, len(r.Summary.Errors)))
	var counts []int
	for i, d := range r.Details {
		m.same("a clean of many names other accounts", all[i], d.EntityID)
		counts = append(counts, d.PreferencesDeleted)
	}
	m.same("a clean of many counts otherwise", op.counts, counts)
	m.named(op)
	m.met(op)
}

// takeBack is an operator who undoes what was done: by an operator, or because of an event.
func (m *machine) takeBack() {
	m.finish()
	works := slices.DeleteFunc(slices.Clone(m.model.works), func(op *operation) bool { return len(op.removed) == 0 && op.cause != "" })
	if len(works) == 0 {
		m.Skip("nothing was cleaned")
	}
	op := works[rapid.IntRange(0, len(works)-1).Draw(m.T, "operation")]
	m.named(op)
	got := m.send("operator", http.MethodPost, "/"+op.id+"/undo", nil)
	if op.state == compensated {
		m.refused(got, finished)
		return
	}
	m.same("an undo is answered otherwise", http.StatusAccepted, got.Status)
	op.state, m.due = undoing, op
	m.saw("undos")
	if !m.chance("wait", 3) {
		m.finish()
	}
}
