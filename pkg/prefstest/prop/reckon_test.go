package prop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
)

// reckon is the end of a run: every list, its whole history, and all that was announced are what the model says.
func (m *machine) reckon() {
	m.Helper()
	m.finish()
	for _, k := range m.keys {
		if l := m.model.lists[k]; l.version() > 0 {
			m.read(k)
			m.history(l, 50)
		}
	}
	rows, err := m.announced(m.Context())
	if err != nil {
		m.wrong("the outbox cannot be read", err)
	}
	for i, r := range rows {
		m.Logf("announced %s of %s: %s", r.typ, r.key, r.payload)
		if i < len(m.model.told) {
			m.told(m.model.told[i], r)
		}
	}
	m.same("more or fewer events are announced", len(m.model.told), len(rows))
	for _, l := range m.model.lists {
		for n, v := range l.past {
			if v.tag != "" && v.tag != listTag(l, n+1, m.times[l][n]) {
				m.wrong("the tag of a list is not made of its user, domain, id, version and time", v.tag)
			}
		}
	}
}

// itemTag and listTag are as the contract has them. The time keeps a tag from coming back with a database that is restored.
func itemTag(p preference) string {
	return tagOf("p1", p.ID, p.Version, p.Order, p.UpdateTime.UnixMicro())
}

func listTag(l *list, version int, at time.Time) string {
	return tagOf("l1", l.user, l.domain, l.id, version, at.UnixMicro())
}

func tagOf(parts ...any) string {
	text := ""
	for i, p := range parts {
		if i > 0 {
			text += "|"
		}
		text += fmt.Sprint(p)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:16]
}

// told holds an event against the one that the model announced in its place.
func (m *machine) told(want event, got row) {
	m.Helper()
	m.same("another event is announced", want.typ, got.typ)
	m.saw(want.typ)
	if want.typ == letter {
		m.same("a dead letter is another record", want.record, string(got.payload))
		return
	}
	var envelope struct {
		Timestamp time.Time
		Data      json.RawMessage
	}
	m.decode(got.payload, &envelope)
	switch want.typ {
	case updated:
		m.updated(want, got.key, envelope.Timestamp, envelope.Data)
	case cleaned:
		m.partOf(want, got.key, envelope.Data)
	default:
		m.erased(want, got.key, envelope.Data)
	}
}

// number learns the id of a list, or holds it against the one that is known. Lists that are begun later have higher ones.
func (m *machine) number(l *list, id int64) int64 {
	m.Helper()
	if l.id == 0 {
		for _, other := range m.model.inOrder() {
			if other.id != 0 && (other.begun < l.begun) != (other.id < id) {
				m.wrong("the ids of lists are not in the order in which the lists were begun", other.id, id)
			}
		}
		l.id = id
	}
	return l.id
}

func (m *machine) updated(want event, who string, at time.Time, data []byte) {
	m.Helper()
	var got events.Updated
	m.decode(data, &got)
	l, v, c := want.list, want.list.at(want.version), want.change
	m.same("an event is told of another user", l.user, who)
	for _, names := range [][]string{got.Created, got.Updated, got.Deleted} {
		slices.Sort(names)
	}
	m.same("an event says otherwise what changed", events.Updated{
		UserID: l.user, Domain: l.domain, ListID: m.number(l, got.ListID), Version: int64(want.version), PreviousVersion: int64(want.version - 1),
		Action: v.action, ChangedFields: c.fields, Created: slices.Sorted(slices.Values(c.created)),
		Updated: slices.Sorted(slices.Values(c.updated)), Deleted: slices.Sorted(slices.Values(c.deleted)),
		Total: len(v.items), ETag: listTag(l, want.version, at),
	}, got)
	// The last versions of a user who was erased may never have been read.
	if times := m.times[l]; want.version <= len(times) && !times[want.version-1].Equal(at) {
		m.wrong("an event has another time than its version", at)
	}
}

func (m *machine) partOf(want event, about string, data []byte) {
	m.Helper()
	var got events.Cleaned
	m.decode(data, &got)
	expected := events.Cleaned{
		EntityID: want.account, EntityType: account, Part: 1, Final: true, Complete: true,
		TotalDeleted: int64(len(want.touched)), Cause: want.by.why(),
	}
	byVersion := func(a, b events.TouchedList) int {
		return slices.Compare([]int64{a.ListID, a.Version}, []int64{b.ListID, b.Version})
	}
	slices.SortFunc(got.Lists, byVersion)
	for _, t := range want.touched {
		l := t.list
		expected.AffectedUsers = append(expected.AffectedUsers, l.user)
		expected.Lists = append(expected.Lists, events.TouchedList{UserID: l.user, Domain: l.domain, ListID: l.id, Version: int64(t.version)})
	}
	slices.SortFunc(expected.Lists, byVersion)
	slices.Sort(expected.AffectedUsers)
	expected.AffectedUsers = slices.Compact(expected.AffectedUsers)
	m.same("a clean is announced with another key", want.account, about)
	m.same("a clean is announced otherwise", expected, got)
}

func (m *machine) erased(want event, who string, data []byte) {
	m.Helper()
	var got events.Erased
	m.decode(data, &got)
	expected := events.Erased{UserID: want.user}
	for _, l := range want.lists {
		expected.Lists = append(expected.Lists, events.ErasedList{Domain: l.domain, ListID: l.id})
	}
	m.same("an erasure is announced with another key", want.user, who)
	m.same("an erasure is announced otherwise", expected, got)
}
