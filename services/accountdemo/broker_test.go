package accountdemo

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// broker takes messages while it is there.
type broker struct {
	mu    sync.Mutex
	away  bool
	takes int // how many more it takes before it is away again; 0 means no such limit
	got   []outbox.Message
}

func (b *broker) Publish(_ context.Context, msgs []outbox.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	results := make([]error, len(msgs))
	for i, m := range msgs {
		switch {
		case b.away && i == 0:
			results[i] = outbox.ErrUnreachable
		case b.away:
			results[i] = outbox.ErrNotSent
		default:
			b.got = append(b.got, m)
			b.takes--
			b.away = b.takes == 0
		}
	}
	return results
}

func (b *broker) heal() { b.healFor(0) }

func (b *broker) healFor(messages int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away, b.takes = false, messages
}

func (b *broker) messages() []outbox.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]outbox.Message(nil), b.got...)
}

// log names what arrived, in order.
func (b *broker) log() []string {
	var lines []string
	for _, m := range b.messages() {
		var e event
		if err := json.Unmarshal(m.Value, &e); err != nil {
			panic(err)
		}
		lines = append(lines, e.Type+" "+e.Data.AccountID)
	}
	return lines
}

// run starts the sender and returns what stops it.
func run(t *testing.T, s *sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
