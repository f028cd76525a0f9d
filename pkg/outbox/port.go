// Package outbox moves rows that a transaction wrote to the broker.
package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Header is one record header; names may repeat.
type Header struct {
	Name  string
	Value []byte
}

// Message is one record to publish.
type Message struct {
	ID      int64 // row of the outbox: the order
	EventID uuid.UUID
	Topic   string
	Key     []byte // nil means no key
	Value   []byte // nil means a null value
	Headers []Header
}

// Publisher publishes to the broker with acks=all and idempotently, with at
// most one produce in flight per partition. It is called for several partitions
// at the same time.
type Publisher interface {
	// Route names the partition that each message would go to now, or says ""
	// where that is not known. It answers from memory. A relay keeps the
	// messages of one name together, so that a failing partition holds up
	// itself alone; the order within a key never depends on the answer.
	Route(ctx context.Context, msgs []Message) []string

	// Publish sends messages, which are in order. The result at i is nil once
	// message i is acknowledged by all in-sync replicas. Otherwise it wraps
	// ErrUnreachable, is a *Refused, or wraps ErrNotSent: after the first
	// failure in a partition nothing later of that partition is sent.
	Publish(ctx context.Context, msgs []Message) []error
}

// ErrUnreachable says that the broker could not be asked, or did not answer in
// time: an outage, which is nobody's attempt. The message may have arrived;
// sending the same messages again does not write it twice.
var ErrUnreachable = errors.New("broker is unreachable")

// ErrNotSent says that a message was held back, because an earlier one of its
// partition failed in the same call.
var ErrNotSent = errors.New("held back behind a failed message of its partition")

// Refused is the broker's answer that it does not take a message.
type Refused struct { //nolint:errname // callers ask whether a message was refused
	Permanent bool // the same message can never succeed
	Err       error
}

// Error implements error.
func (r *Refused) Error() string {
	if r.Permanent {
		return fmt.Sprintf("refused for good: %v", r.Err)
	}
	return fmt.Sprintf("refused for now: %v", r.Err)
}

// Unwrap returns the broker's error.
func (r *Refused) Unwrap() error { return r.Err }
