package preferences

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/fault"
)

// KeyRetention is how long the answer to a write that happens once is kept.
const KeyRetention = 24 * time.Hour

// Answer is what a write was answered, as its repetition gets it.
type Answer struct {
	Status int
	Header map[string]string // those that belong to the answer, such as ETag
	Body   []byte            // empty: none
}

// Once makes a write happen once, however often it is sent. Its key commits
// with its effect, so that no crash can part them.
type Once struct {
	Key string // the caller's name for the request, unique among its own
	// Fingerprint is of what the request means: a key that comes with another one
	// is a mistake of the caller. The Service computes it.
	Fingerprint []byte
	// Render spells the answer. It runs before the commit, which keeps it.
	Render func(Result) (Answer, error)
}

// of is the same for a request that means this. Taking the meaning, after every
// check, instead of the bytes lets a client send the request again in another
// spelling: blanks, the order of names, members that are ignored, and fresher
// conditions make no difference.
func (o *Once) of(parts ...any) (*Once, error) {
	if o == nil {
		return nil, nil //nolint:nilnil // a write that happens each time has none
	}
	for i, p := range parts {
		if raw, is := p.(json.RawMessage); is && raw != nil {
			parts[i] = spelled(raw)
		}
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("fingerprint of a request: %w", err)
	}
	sum := sha256.Sum256(text)
	out := *o
	out.Fingerprint = sum[:]
	return &out, nil
}

// InProgress is the fault of a request whose key another one is using.
func InProgress() error {
	return fault.New(fault.Aborted, fault.ReasonRequestInProgress, "A request with this Idempotency-Key is under way. Repeat it in a moment.")
}

// KeyReused is the fault of a key that came with another request before.
func KeyReused() error {
	return fault.New(fault.Unprocessable, fault.ReasonIdempotencyKeyReused,
		"The Idempotency-Key was used for another request. Take a new key for a new request.")
}
