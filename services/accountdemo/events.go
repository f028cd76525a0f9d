package accountdemo

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// Events that the owner of accounts publishes.
const (
	accountCreated  = "account.created"
	accountDeleted  = "account.deleted"
	accountRestored = "account.restored"
)

// actor is who changed an account: the demo asks nobody for a name.
const actor = "accountdemo"

// event is one change of an account, as the owner tells it to everybody. It is
// also how an unpublished one waits in the file.
type event struct {
	Type string    `json:"eventType"`
	ID   uuid.UUID `json:"eventId"`
	Time time.Time `json:"timestamp"`
	Data eventData `json:"data"`
}

type eventData struct {
	AccountID   string `json:"accountId"`
	AccountName string `json:"accountName"`
	CreatedBy   string `json:"createdBy,omitempty"`
	DeletedBy   string `json:"deletedBy,omitempty"`
	RestoredBy  string `json:"restoredBy,omitempty"`
}

func newEvent(kind string, id uuid.UUID, a account) event {
	data := eventData{AccountID: a.ID, AccountName: a.Name}
	switch kind {
	case accountCreated:
		data.CreatedBy = actor
	case accountDeleted:
		data.DeletedBy = actor
	case accountRestored:
		data.RestoredBy = actor
	}
	return event{Type: kind, ID: id, Time: a.ChangedAt, Data: data}
}

// message returns the event as a record: keyed by its account, so that the
// events of one account stay in order.
func (e event) message(topic string) (outbox.Message, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return outbox.Message{}, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	return outbox.Message{
		EventID: e.ID, Topic: topic, Key: []byte(e.Data.AccountID), Value: value,
		Headers: []outbox.Header{{Name: "content-type", Value: []byte("application/json")}},
	}, nil
}
