package verify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// ledger is what the outbox tells of each list and of each clean. Rows are
// pruned oldest first, so what is younger than one that is kept must be there.
type ledger struct {
	since    time.Time                // from then on nothing was pruned; zero: unknown
	versions map[int64]map[int64]bool // of a list, those that an event names
	oldest   map[int64]int64          // of a list, the first of them
	parts    map[clean][]events.Cleaned
	erased   map[int64]bool // lists of users who are no more
}

// clean names a clean: one cause may clean several entities.
type clean struct {
	cause  string
	entity preferences.Entity
}

func (c clean) String() string { return c.cause + " of " + c.entity.Type + " " + c.entity.ID }

// firstRow is the id of the first row that an outbox ever held.
const firstRow = 1

func newLedger(rows []OutboxRow) (ledger, error) {
	l := ledger{versions: map[int64]map[int64]bool{}, oldest: map[int64]int64{}, parts: map[clean][]events.Cleaned{}, erased: map[int64]bool{}}
	for _, row := range rows {
		if row.ID == firstRow && !row.Quarantined {
			l.since = row.Time
		}
		if err := l.enter(row); err != nil {
			return l, fmt.Errorf("outbox row %d: %w", row.ID, err)
		}
	}
	return l, nil
}

func (l ledger) enter(row OutboxRow) error {
	switch row.Type {
	case events.PreferencesUpdated:
		var envelope struct{ Data events.Updated }
		if err := json.Unmarshal(row.Payload, &envelope); err != nil {
			return err
		}
		l.names(row, envelope.Data.ListID, envelope.Data.Version)
	case events.PreferencesCleaned:
		var envelope struct{ Data events.Cleaned }
		if err := json.Unmarshal(row.Payload, &envelope); err != nil {
			return err
		}
		part := envelope.Data
		c := clean{part.Cause, preferences.Entity{Type: part.EntityType, ID: part.EntityID}}
		l.parts[c] = append(l.parts[c], part)
		for _, t := range part.Lists {
			l.names(row, t.ListID, t.Version)
		}
	case events.PreferencesErased:
		var envelope struct{ Data events.Erased }
		if err := json.Unmarshal(row.Payload, &envelope); err != nil {
			return err
		}
		for _, e := range envelope.Data.Lists {
			l.erased[e.ListID] = true
		}
	default: // it tells of no version
	}
	return nil
}

func (l ledger) names(row OutboxRow, list, version int64) {
	if l.versions[list] == nil {
		l.versions[list] = map[int64]bool{}
	}
	l.versions[list][version] = true
	// What is in quarantine stays while younger rows are pruned.
	if oldest, some := l.oldest[list]; !row.Quarantined && (!some || version < oldest) {
		l.oldest[list] = version
	}
}

// lacks says whether the event of a version is missing, and cannot have been
// pruned.
func (l ledger) lacks(list, version int64, made time.Time) bool {
	if l.versions[list][version] {
		return false
	}
	oldest, some := l.oldest[list]
	return some && version > oldest || l.unpruned(made)
}

// unpruned says whether what was made then must still be there.
func (l ledger) unpruned(made time.Time) bool { return !l.since.IsZero() && !made.Before(l.since) }

// told is the first half of I4: every version of a list has its event. Those
// that a clean made are I6's.
func (r *Report) told(h History, l ledger) {
	for _, c := range h.Changes {
		if c.Action != string(preferences.ActionClean) && l.lacks(h.List.ID, c.Version, c.Time) {
			r.add("I4", subject(h.List.ID), "has version %d without an event", c.Version)
		}
	}
}
