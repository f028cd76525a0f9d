package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
)

// Delivered is a record that a consumer of an outgoing topic saw, in the order
// of its partition.
type Delivered struct {
	Topic     string
	Partition int
	Offset    int64
	Key       string
	EventID   uuid.UUID
	Value     []byte
}

// Delivery checks the topics against the outbox: I4 (every event arrives, and
// nothing else) and I5 (of a key, first deliveries are in the order of their
// commits; duplicates only repeat). The outbox must not have been pruned.
func Delivery(ctx context.Context, src Source, seen []Delivered) (Report, error) {
	rows, err := src.Outbox(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("verify outbox: %w", err)
	}
	r := Report{Events: len(rows)}
	r.delivered(rows, seen)
	return r, nil
}

func (r *Report) delivered(rows []OutboxRow, seen []Delivered) {
	byID := make(map[uuid.UUID]OutboxRow, len(rows))
	for _, row := range rows {
		byID[row.EventID] = row
	}
	first := map[uuid.UUID]Delivered{}
	last := map[string]OutboxRow{} // of a topic and key, the newest first delivery so far
	for _, d := range seen {
		row, known := byID[d.EventID]
		name := fmt.Sprintf("event %s at %s/%d@%d", d.EventID, d.Topic, d.Partition, d.Offset)
		if !known || row.Topic != d.Topic || row.Key != d.Key || string(row.Payload) != string(d.Value) {
			r.add("I4", name, "is not what the outbox holds")
			continue
		}
		if before, repeated := first[d.EventID]; repeated {
			if before.Partition != d.Partition {
				r.add("I5", name, "was delivered to partition %d before", before.Partition)
			}
			continue
		}
		first[d.EventID] = d
		key, err := ordered(row)
		if err != nil {
			r.add("I4", name, "cannot be read: %v", err)
			continue
		}
		if newest, some := last[key]; some && row.ID < newest.ID {
			r.add("I5", name, "comes after event %s of %s, which was committed later", newest.EventID, key)
			continue
		}
		last[key] = row
	}
	r.missing(rows, first)
}

func (r *Report) missing(rows []OutboxRow, first map[uuid.UUID]Delivered) {
	var lost []string
	for _, row := range rows {
		if _, arrived := first[row.EventID]; !arrived && !row.Quarantined {
			lost = append(lost, fmt.Sprintf("%d (%s of %s)", row.ID, row.Type, row.Key))
		}
	}
	const shown = 5
	if len(lost) > 0 {
		r.add("I4", "outbox", "%d of %d rows never arrived: %s", len(lost), len(rows), strings.Join(lost[:min(shown, len(lost))], ", "))
	}
	r.sequence(rows)
}

// sequence is the other half of I3 and I5: the updates of a list that the
// outbox holds are its versions, in the order of their ids.
func (r *Report) sequence(rows []OutboxRow) {
	last := map[string]int64{}
	for _, row := range rows {
		if row.Type != events.PreferencesUpdated {
			continue
		}
		list, err := ordered(row)
		if err != nil {
			r.add("I5", fmt.Sprintf("outbox row %d", row.ID), "cannot be read: %v", err)
			continue
		}
		if row.Sequence <= last[list] {
			r.add("I5", list, "has version %d in the outbox after version %d", row.Sequence, last[list])
		}
		last[list] = row.Sequence
	}
}

// ordered names what an event is in order with: its list, or the clean whose
// part it is. A Kafka key may carry several of them.
func ordered(row OutboxRow) (string, error) {
	var envelope struct {
		Data struct {
			ListID int64  `json:"listId"`
			Cause  string `json:"cause"`
		} `json:"data"`
	}
	if err := json.Unmarshal(row.Payload, &envelope); err != nil {
		return "", err
	}
	if row.Type == events.PreferencesUpdated {
		return subject(envelope.Data.ListID), nil
	}
	return string(row.Type) + " of " + row.Key + " by " + envelope.Data.Cause, nil
}
