package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prefsd/prefsd/pkg/fault"
)

// MaxValueBytes bounds the value of a record that is looked at.
const MaxValueBytes = 1 << 20

// ReasonInvalidEvent says that a record is not an event of the contract.
const ReasonInvalidEvent fault.Reason = "INVALID_EVENT"

// ErrNoValue says that a record has no value: the mark of a deletion in a
// compacted topic, and no event.
var ErrNoValue = errors.New("record has no value")

// Record is a consumed record as the broker keeps it.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte // nil means no key
	Value     []byte // nil means a null value
	Headers   []Header
}

// Event is a consumed event, whoever published it and in whatever envelope.
type Event struct {
	ID          string // 1 to 128 printable ASCII characters
	Type        Type
	Time        time.Time       // when it happened; zero if the event does not say so in RFC 3339
	Data        json.RawMessage // nil if there is none
	Traceparent string          // W3C trace context; empty: none
}

// Decode reads the event of a record. It may come in three forms: in the
// envelope {eventType, eventId, timestamp, data}, as a CloudEvent in structured
// mode, or as one in binary mode. Where a record has both an envelope and the
// headers of a CloudEvent, the envelope counts; other members are ignored. What
// every event needs and this one lacks makes it an Invalid fault, whose text
// holds nothing of the record. What only matters for a type that somebody
// handles (time, data) is left to them, so that events of other types are never
// called broken.
//
// The event's ID is set even then: the publisher's, or else a digest of the
// record, so that a second delivery is recognised.
func Decode(headers []Header, key, value []byte) (Event, error) {
	e := Event{ID: digest(key, value), Traceparent: traceparentOf(headers)}
	switch {
	case value == nil:
		return e, ErrNoValue
	case len(value) > MaxValueBytes:
		return e, malformed("The value is larger than %d bytes.", MaxValueBytes)
	}
	ce := readCloudEvents(headers)
	members, err := membersOf(value)
	_, enveloped := members["eventType"]
	_, bare := members["specversion"] // structured, from a publisher that sets no headers
	switch {
	case err == nil && enveloped && !ce.structured():
		return e, e.readEnvelope(members)
	case err == nil && (ce.structured() || bare):
		return e, e.readStructured(ce, members)
	case ce.binary() && !ce.structured():
		return e, e.readBinary(ce, key, value)
	case err != nil:
		return e, err
	}
	return e, e.readEnvelope(members)
}

// membersOf reads a JSON object into a map and not a struct, because struct
// fields match names in any case.
func membersOf(value []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(value) {
		return nil, malformed("The value is not UTF-8.")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return nil, notJSON(err)
	}
	if repeats(value) {
		return nil, malformed("The value names a member twice.")
	}
	return members, nil
}

func (e *Event) readEnvelope(members map[string]json.RawMessage) error {
	if id, ok := text(members["eventId"]); ok && usableID(id) {
		e.ID = id
	}
	name, ok := text(members["eventType"])
	if !ok || name == "" {
		return malformed("The value is not an object with a string eventType.")
	}
	e.Type, e.Data = Type(name), members["data"]
	if at, ok := text(members["timestamp"]); ok {
		e.Time = parseTime(at)
	}
	return nil
}

// repeats says whether a JSON object names a member twice: readers disagree about
// which of the two counts, and a deletion must not hang on that.
func repeats(object []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(object))
	if opened, err := dec.Token(); err != nil || opened != json.Delim('{') {
		return false
	}
	names := map[json.Token]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil || names[name] {
			return true
		}
		names[name] = true
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return true
		}
	}
	return false
}

// Field returns a member of the event's data that must be a string.
func (e Event) Field(name string) (string, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(e.Data, &members) == nil && !repeats(e.Data) {
		if s, ok := text(members[name]); ok {
			return s, nil
		}
	}
	return "", malformed("The event's data is not an object with one string %s.", name)
}

// text reads a JSON string.
func text(raw json.RawMessage) (string, bool) {
	var s *string
	err := json.Unmarshal(raw, &s)
	if err != nil || s == nil {
		return "", false
	}
	return *s, true
}

// parseTime reads an RFC 3339 time, in which T and Z may be small letters.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// maxIDLength bounds the id of an event.
const maxIDLength = 128

func usableID(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxIDLength
}

// digest stands in for the id of an event that has none: the same bytes are the
// same event. What the value does not say of the event comes as attributes.
func digest(key, value []byte, attributes ...string) string {
	h := sha256.New()
	frame := uint64(math.MaxUint64) // no key
	if key != nil {
		frame = uint64(len(key))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, frame))
	h.Write(key)
	for _, a := range attributes {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(a))))
		h.Write([]byte(a))
	}
	h.Write(value)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparentOf returns the trace context that a record carries, if it is one.
func traceparentOf(headers []Header) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, "traceparent") && traceparent.Match(h.Value) {
			return string(h.Value)
		}
	}
	return ""
}

func malformed(format string, args ...any) error {
	return fault.New(fault.Invalid, ReasonInvalidEvent, format, args...)
}

// notJSON says where a value stops being JSON. The decoder's own words would
// quote it.
func notJSON(err error) error {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return malformed("The value is not JSON from byte %d on.", s.Offset)
	}
	return malformed("The value is not a JSON object.")
}
