package outbox_test

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// records is a broker in memory: what it took, in order, and what it answers.
type records struct {
	mu      sync.Mutex
	taken   []record
	route   func(outbox.Message) string
	answer  func(outbox.Message) error // nil takes all
	latency func(outbox.Message) time.Duration
	calls   int
}

type record struct {
	outbox.Message
	at time.Time
}

func (r *records) Route(_ context.Context, msgs []outbox.Message) []string {
	names := make([]string, len(msgs))
	for i, m := range msgs {
		if r.route != nil {
			names[i] = r.route(m)
		}
	}
	return names
}

func (r *records) Publish(ctx context.Context, msgs []outbox.Message) []error {
	r.mu.Lock()
	r.calls++
	latency := r.latency
	r.mu.Unlock()
	errs := make([]error, len(msgs))
	var failed error
	for i, m := range msgs {
		if failed != nil {
			errs[i] = outbox.ErrNotSent
			continue
		}
		if latency != nil {
			select {
			case <-time.After(latency(m)):
			case <-ctx.Done():
				failed = outbox.ErrUnreachable
				errs[i] = failed
				continue
			}
		}
		failed = r.take(m)
		errs[i] = failed
	}
	return errs
}

func (r *records) take(m outbox.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answer != nil {
		if err := r.answer(m); err != nil {
			return err
		}
	}
	r.taken = append(r.taken, record{m, time.Now()})
	return nil
}

func (r *records) answers(fn func(outbox.Message) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = fn
}

// all is what arrived, as "subject:id".
func (r *records) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []string{}
	for _, m := range r.taken {
		out = append(out, string(m.Key)+":"+strconv.FormatInt(m.ID, 10))
	}
	return out
}

func (r *records) of(subject string) []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []int64
	for _, m := range r.taken {
		if string(m.Key) == subject {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
