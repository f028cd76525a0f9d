package preferences

import (
	"fmt"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
)

// MaxEventBytes bounds an ordinary event; a broker refuses records over 1 MiB
// by default.
const MaxEventBytes = 900_000

// maxPartBytes bounds a part of preferences.cleaned.
const maxPartBytes = 700_000

// Announcer turns what happened into the events that tell of it.
type Announcer struct {
	EventsTopic  string // of preferences.updated and preferences.erased
	CleanedTopic string // of preferences.cleaned
	Source       string // the CloudEvents source of this deployment
}

// Updated is the event of one version of one list.
func (a Announcer) Updated(c Changes, by By) (events.Message, error) {
	l := c.Next
	return a.message(events.PreferencesUpdated, a.EventsTopic, "list", l.UserID, l.Version, l.UpdateTime, by.Traceparent, events.Updated{
		UserID: l.UserID, Domain: l.Domain, ListID: l.ID, Version: l.Version, PreviousVersion: l.Version - 1,
		Action: string(by.Action), ChangedFields: some(c.Fields), Created: some(c.Created), Updated: some(c.Updated), Deleted: some(c.Deleted),
		Total: l.Total(), ETag: l.ETag(),
	})
}

// Cleaned is the next parts of a clean, as many as it takes to stay below the
// limit of a part; it counts them in c. The ending is that of the last one.
func (a Announcer) Cleaned(c *Clean, touched []events.TouchedList, end Ending, at time.Time) ([]events.Message, error) {
	var out []events.Message
	for {
		n := fitting(touched)
		c.Parts, c.Deleted = c.Parts+1, c.Deleted+int64(n)
		last := n == len(touched)
		m, err := a.message(events.PreferencesCleaned, a.CleanedTopic, "entity", c.Entity.ID, 0, at, c.Traceparent, events.Cleaned{
			EntityID: c.Entity.ID, EntityType: c.Entity.Type, AffectedUsers: usersOf(touched[:n]), Lists: some(touched[:n]),
			Part: c.Parts, Final: last && end != Underway, Complete: last && end == Complete, TotalDeleted: c.Deleted, Cause: c.Cause,
		})
		if err != nil {
			return nil, err
		}
		out, touched = append(out, m), touched[n:]
		if last {
			return out, nil
		}
	}
}

// Erased is the event that a user's lists are gone for good.
func (a Announcer) Erased(userID string, lists []events.ErasedList, at time.Time, trace string) (events.Message, error) {
	return a.message(events.PreferencesErased, a.EventsTopic, "user", userID, 0, at, trace, events.Erased{UserID: userID, Lists: some(lists)})
}

func (a Announcer) message(t events.Type, topic, aggregate, key string, seq int64, at time.Time, trace string, data any) (events.Message, error) {
	id := NewID()
	payload, err := events.Encode(t, id, at, a.Source, data)
	if err != nil {
		return events.Message{}, fmt.Errorf("encode %s: %w", t, err)
	}
	if len(payload) > MaxEventBytes {
		return events.Message{}, fmt.Errorf("encode %s of %s: %d bytes are more than a broker takes", t, topic, len(payload))
	}
	return events.Message{
		ID: id, Type: t, Topic: topic, Aggregate: aggregate, Key: key, Sequence: seq, Time: at, Traceparent: trace, Payload: payload,
	}, nil
}

// fitting returns how many of the lists a part can name. JSON spells a byte in
// at most 6, and a user stands in a part twice.
func fitting(touched []events.TouchedList) int {
	const perList, worst = 120, 6
	size := 0
	for i, t := range touched {
		size += perList + 2*worst*len(t.UserID) + len(t.Domain)
		if size > maxPartBytes && i > 0 {
			return i
		}
	}
	return len(touched)
}

// usersOf returns the lists' users, sorted, each once.
func usersOf(touched []events.TouchedList) []string {
	users := make([]string, 0, len(touched))
	for _, t := range touched {
		users = append(users, t.UserID)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// some keeps null out of JSON.
func some[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
