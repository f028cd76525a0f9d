// Package events is the contract with other teams: the envelope, the event
// types and their payloads. It knows no broker and no database.
package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Type names an event in the form noun.past_participle.
type Type string

// Types that prefsd publishes.
const (
	PreferencesUpdated Type = "preferences.updated"
	PreferencesCleaned Type = "preferences.cleaned"
	PreferencesErased  Type = "preferences.erased"
)

// Types that prefsd reads whatever it is configured to; those about entities
// are named by the domains.
const (
	UserDeleted Type = "user.deleted"
	UserCreated Type = "user.created"
)

// SchemaVersion is the version of every payload in this package.
const SchemaVersion = 1

// Updated is the data of preferences.updated: one version of one list.
type Updated struct {
	UserID          string   `json:"userId"`
	Domain          string   `json:"domain"`
	ListID          int64    `json:"listId"`
	Version         int64    `json:"version"`
	PreviousVersion int64    `json:"previousVersion"`
	Action          string   `json:"action"`
	ChangedFields   []string `json:"changedFields"` // "order", "attributes.<key>"; at most 100, then "attributes.*"
	Created         []string `json:"created"`       // entity ids
	Updated         []string `json:"updated"`
	Deleted         []string `json:"deleted"`
	Total           int      `json:"total"`
	ETag            string   `json:"etag"`
}

// Cleaned is the data of preferences.cleaned: one part of what a clean did.
type Cleaned struct {
	EntityID      string        `json:"entityId"`
	EntityType    string        `json:"entityType"`
	AffectedUsers []string      `json:"affectedUsers"`
	Lists         []TouchedList `json:"lists"`
	Part          int           `json:"part"`     // from 1
	Final         bool          `json:"final"`    // exactly one part of a cause and entity is
	Complete      bool          `json:"complete"` // false where the clean was given up
	TotalDeleted  int64         `json:"totalDeleted"`
	Cause         string        `json:"cause"` // "event:<id>" or "operation:<id>"
}

// TouchedList is a list that a clean changed, at the version it made.
type TouchedList struct {
	UserID  string `json:"userId"`
	Domain  string `json:"domain"`
	ListID  int64  `json:"listId"`
	Version int64  `json:"version"`
}

// Erased is the data of preferences.erased: a user is gone, and so are the
// user's lists.
type Erased struct {
	UserID string       `json:"userId"`
	Lists  []ErasedList `json:"lists"`
}

// ErasedList is a list that was erased.
type ErasedList struct {
	Domain string `json:"domain"`
	ListID int64  `json:"listId"`
}

// Message is an event on its way to the outbox.
type Message struct {
	ID          uuid.UUID // eventId and ce_id
	Type        Type
	Topic       string
	Aggregate   string // "list", "entity" or "user": what Key names
	Key         string // the Kafka key: per key, order is kept
	Sequence    int64  // the list's version; 0 where there is none
	Time        time.Time
	Traceparent string
	Payload     []byte // the Kafka value; nil is a null one
	Raw         *Raw   // set: somebody else's record is passed on, as it was
}

// Raw is what goes out in place of our own key and CloudEvents headers when a
// record of somebody else is passed on: their key and headers, byte for byte.
type Raw struct {
	Key     []byte // nil means no key
	Headers []Header
}

// Header is one record header; names may repeat.
type Header struct {
	Name  string
	Value []byte // nil means a null value
}

// SchemaVersion is the version of the message's payload, or 0 for a raw one,
// of which nothing is known.
func (m Message) SchemaVersion() int {
	if m.Raw != nil {
		return 0
	}
	return SchemaVersion
}

type envelope struct {
	Type    Type      `json:"eventType"`
	ID      uuid.UUID `json:"eventId"`
	Time    time.Time `json:"timestamp"`
	Version int       `json:"version"`
	Source  string    `json:"source"`
	Data    any       `json:"data"`
}

// Encode returns the Kafka value of an event: the envelope around its data.
func Encode(t Type, id uuid.UUID, at time.Time, source string, data any) ([]byte, error) {
	return json.Marshal(envelope{t, id, at, SchemaVersion, source, data})
}

// Source names the deployment that publishes: the CloudEvents source.
func Source(cell string) string { return "/prefsd/" + cell }
