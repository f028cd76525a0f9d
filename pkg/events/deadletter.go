package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// DeadLetterRecord is the type under which the outbox keeps dead letters. It is
// on no record: they keep the headers of the original.
const DeadLetterRecord Type = "dead.letter"

// Headers of a dead letter, beside those of the original. All values are text.
const (
	HeaderOriginalTopic     = "dlt.original.topic"
	HeaderOriginalPartition = "dlt.original.partition"
	HeaderOriginalOffset    = "dlt.original.offset"
	HeaderOriginalTimestamp = "dlt.original.timestamp" // RFC 3339
	HeaderOriginalKeyHash   = "dlt.original.key-hash"  // sha256: and hexadecimal digits; absent without a key
	HeaderConsumerGroup     = "dlt.consumer.group"
	HeaderErrorClass        = "dlt.error.class"
	HeaderErrorCode         = "dlt.error.code"
	HeaderErrorMessage      = "dlt.error.message" // holds nothing of the record
	HeaderAttempts          = "dlt.attempts"
	HeaderFirstFailedAt     = "dlt.first-failed-at" // RFC 3339
	HeaderFailedAt          = "dlt.failed-at"       // RFC 3339
	HeaderServiceVersion    = "dlt.service.version" // of the consumer that gave up
	HeaderTruncated         = "dlt.truncated"       // "true": the record was too large to keep whole
)

// ErrorClass says what kind of failure made a dead letter.
type ErrorClass string

// Classes of failures.
const (
	Poison    ErrorClass = "poison"    // it can never succeed as it is
	Exhausted ErrorClass = "exhausted" // it failed again and again, and nobody knows why
)

// DeadLetter is a record that could not be processed, and why.
type DeadLetter struct {
	ID       uuid.UUID
	Topic    string // of dead letters
	Record   Record
	Group    string // the consumer group that gave up
	Class    ErrorClass
	Code     fault.Reason
	Why      string // safe to show; holds nothing of the record
	Attempts int
	FailedAt time.Time
	Version  string // of the consumer, if it has one

	FirstFailedAt time.Time // as far as the consumer remembers
	KeyHash       string    // of the original key, which the letter may lack; only of a letter that was read
	Truncated     bool      // the record was too large to keep whole; only of a letter that was read
}

const (
	// maxDeadLetterBytes leaves room below the 1 MiB that a broker takes by
	// default, so that the letter does not go the way of its record.
	maxDeadLetterBytes = 1_000_000
	maxErrorMessage    = 1024
)

// Message is the letter on its way to the outbox: the original key, value and
// headers with the letter's own headers behind them. No content makes it fail.
// Of a record that leaves no room for those, the value is left out; then the
// headers, then the key.
func (d DeadLetter) Message() Message {
	own := d.headers()
	raw := &Raw{Key: d.Record.Key, Headers: slices.Concat(storable(d.Record.Headers), own)}
	value := d.Record.Value
	if raw.size()+len(value) > maxDeadLetterBytes {
		value = nil
		own = append(own, Header{HeaderTruncated, []byte("true")})
		raw.Headers = slices.Concat(storable(d.Record.Headers), own)
	}
	if raw.size() > maxDeadLetterBytes {
		raw.Headers = own
	}
	if raw.size() > maxDeadLetterBytes {
		raw.Key = nil
	}
	return Message{
		ID: d.ID, Type: DeadLetterRecord, Topic: d.Topic, Aggregate: "dead-letter", Key: keyDigest(raw.Key),
		Time: d.FailedAt, Payload: value, Raw: raw,
	}
}

func (d DeadLetter) headers() []Header {
	r := d.Record
	headers := []Header{
		{HeaderOriginalTopic, []byte(r.Topic)},
		{HeaderOriginalPartition, []byte(strconv.Itoa(r.Partition))},
		{HeaderOriginalOffset, []byte(strconv.FormatInt(r.Offset, 10))},
		{HeaderOriginalTimestamp, []byte(r.Time.UTC().Format(time.RFC3339Nano))},
		{HeaderConsumerGroup, []byte(d.Group)},
		{HeaderErrorClass, []byte(d.Class)},
		{HeaderErrorCode, []byte(d.Code)},
		{HeaderErrorMessage, []byte(clip(d.Why, maxErrorMessage))},
		{HeaderAttempts, []byte(strconv.Itoa(d.Attempts))},
		{HeaderFirstFailedAt, []byte(d.FirstFailedAt.UTC().Format(time.RFC3339Nano))},
		{HeaderFailedAt, []byte(d.FailedAt.UTC().Format(time.RFC3339Nano))},
	}
	if hash := keyDigest(r.Key); hash != "" {
		headers = append(headers, Header{HeaderOriginalKeyHash, []byte(hash)})
	}
	if d.Version != "" {
		headers = append(headers, Header{HeaderServiceVersion, []byte(d.Version)})
	}
	return headers
}

// ownHeaders are those that a letter says about itself: a record that was a dead
// letter before does not keep the old ones.
var ownHeaders = []string{
	HeaderOriginalTopic, HeaderOriginalPartition, HeaderOriginalOffset, HeaderOriginalTimestamp, HeaderConsumerGroup,
	HeaderErrorClass, HeaderErrorCode, HeaderErrorMessage, HeaderAttempts, HeaderFailedAt, HeaderTruncated,
	HeaderOriginalKeyHash, HeaderFirstFailedAt, HeaderServiceVersion,
}

// storable returns the headers with names that a text column takes. Values are
// bytes and stay what they are.
func storable(headers []Header) []Header {
	out := make([]Header, 0, len(headers))
	for _, h := range headers {
		if !slices.Contains(ownHeaders, h.Name) {
			out = append(out, Header{storableName(h.Name), h.Value})
		}
	}
	return out
}

// storableName escapes what no text column takes, the way a URL would: the
// protocol says that names are UTF-8, but nobody checks.
func storableName(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, "\x00") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", name[i])
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// recordOverhead is more than a broker adds to each header, key and value.
const recordOverhead = 16

func (r *Raw) size() int {
	size := len(r.Key) + 4*recordOverhead
	for _, h := range r.Headers {
		size += len(h.Name) + len(h.Value) + recordOverhead
	}
	return size
}

// keyDigest names a key of any bytes and any length in a column that is text
// and indexed.
func keyDigest(key []byte) string {
	if key == nil {
		return ""
	}
	sum := sha256.Sum256(key)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// clip shortens a text to so many bytes, between characters. What is no
// character may be cut anywhere.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for cut := limit; cut > limit-utf8.UTFMax; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
	return s[:limit]
}
