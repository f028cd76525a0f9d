package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// record is everything that a version writes once its head is bumped: rows,
// history and event. Nobody can write one part without the others; the commit
// follows.
func (s *Store) record(ch preferences.Changes, by preferences.By) ([]step, error) {
	l, at := ch.Next, ch.Next.UpdateTime
	delta, err := json.Marshal(ch.Delta)
	if err != nil {
		return nil, fmt.Errorf("encode delta: %w", err)
	}
	event, err := s.announcer.Updated(ch, by)
	if err != nil {
		return nil, err
	}
	emitted, err := emit(event)
	if err != nil {
		return nil, err
	}
	steps := make([]step, 0, 7)
	if len(ch.Delete) > 0 {
		steps = append(steps, run("del", ch.Delete))
	}
	if len(ch.Update) > 0 {
		steps = append(steps, updateRows(ch.Update, at))
	}
	if len(ch.Insert) > 0 {
		steps = append(steps, insertRows(l.ID, ch.Insert, at))
	}
	var operation *uuid.UUID
	if by.Operation != uuid.Nil {
		operation = &by.Operation
	}
	return append(steps,
		run("change", l.ID, l.Version, at, string(by.Action), by.Actor, by.RequestID, by.Forced, l.Gaps, string(delta), operation),
		emitted), nil
}

func updateRows(rows []preferences.RowUpdate, at time.Time) step {
	n := len(rows)
	ids, positions, attributes, changed := make([]uuid.UUID, n), make([]int32, n), make([]string, n), make([]int32, n)
	for i, u := range rows {
		ids[i], positions[i], attributes[i] = u.ID, u.Position, string(u.Attributes)
		if u.Changed {
			changed[i] = 1
		}
	}
	if n == 1 {
		return run("updone", ids[0], positions[0], attributes[0], changed[0], at)
	}
	return run("upd", ids, positions, attributes, changed, at)
}

func insertRows(list int64, items []preferences.Item, at time.Time) step {
	n := len(items)
	ids, positions, attributes := make([]uuid.UUID, n), make([]int32, n), make([]string, n)
	for i, it := range items {
		ids[i], positions[i], attributes[i] = it.ID, it.Position, string(it.Attributes)
	}
	types, entityIDs := entityColumns(items)
	return run("ins", list, ids, types, entityIDs, positions, attributes, at)
}

func entityColumns(items []preferences.Item) (types, ids []string) {
	types, ids = make([]string, len(items)), make([]string, len(items))
	for i, it := range items {
		types[i], ids[i] = it.EntityType, it.EntityID
	}
	return types, ids
}

// emit puts an event into the outbox. Its row keeps only the headers that the
// relay cannot derive from other columns; a record that is passed on keeps all
// of its own, and its key.
func emit(m events.Message) (step, error) {
	headers := []events.Header{{Name: "ce_time", Value: []byte(m.Time.Format(time.RFC3339Nano))}}
	if m.Traceparent != "" {
		headers = append(headers, events.Header{Name: "traceparent", Value: []byte(m.Traceparent)})
	}
	var key []byte
	if m.Raw != nil {
		headers, key = m.Raw.Headers, m.Raw.Key
	}
	pairs := make([][2]any, len(headers))
	for i, h := range headers {
		pairs[i] = [2]any{h.Name, h.Value} // bytes are spelled in base64, nil as null
	}
	encoded, err := json.Marshal(pairs)
	if err != nil {
		return step{}, fmt.Errorf("encode headers: %w", err)
	}
	return run("emit", m.ID, m.Aggregate, m.Key, m.Sequence, string(m.Type), m.Topic, m.Payload, string(encoded), m.SchemaVersion(), key), nil
}
