package outbox

import "github.com/prefsd/prefsd/pkg/events"

// message renders a row as the record that goes out: CloudEvents in binary
// mode. What the columns say becomes headers here; what only the writer knew,
// the time and the trace, is stored with the row and follows as it is.
func message(row *Row, source string) Message {
	m := Message{ID: row.ID, EventID: row.EventID, Topic: row.Topic, Key: row.Key, Value: row.Value}
	if row.SchemaVersion == 0 {
		m.Headers = row.Headers
		return m
	}
	m.Headers = append(make([]Header, 0, 7+len(row.Headers)),
		Header{"ce_id", []byte(row.EventID.String())},
		Header{"ce_type", []byte(row.Type)},
		Header{"ce_source", []byte(source)},
		Header{"ce_specversion", []byte("1.0")},
		Header{"ce_subject", []byte(row.Subject)},
		Header{"ce_dataschema", []byte(events.SchemaURI(events.Type(row.Type), row.SchemaVersion))},
		Header{"content-type", []byte("application/json")},
	)
	m.Headers = append(m.Headers, row.Headers...)
	return m
}
