package operations_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// queue keeps cleans in memory the way the store keeps them in rows: with a
// lease, an epoch, and a time before which nobody may claim them.
type queue struct {
	mu       sync.Mutex
	rows     []*row
	away     error // what Claim says while the store cannot be asked
	returned []preferences.Clean
	givenUp  []preferences.Clean
	refusal  error // what GiveUp says
	delays   []time.Duration
}

type row struct {
	clean  preferences.Clean
	lease  time.Time
	next   time.Time
	closed bool
}

func (q *queue) open(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		q.rows = append(q.rows, &row{clean: preferences.Clean{ID: uuid.New(), Cause: "event:e"}})
	}
}

func (q *queue) Claim(_ context.Context, owner string, lease time.Duration) (preferences.Clean, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away != nil {
		return preferences.Clean{}, false, q.away
	}
	now := time.Now()
	for _, r := range q.rows {
		if !r.closed && !now.Before(r.lease) && !now.Before(r.next) {
			r.lease = now.Add(lease)
			r.clean.Owner, r.clean.Lease = owner, lease
			r.clean.Epoch++
			r.clean.Attempts++
			return r.clean, true, nil
		}
	}
	return preferences.Clean{}, false, nil
}

func (q *queue) RetryLater(_ context.Context, c preferences.Clean, delay time.Duration, cause error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cause == nil {
		return errors.New("a clean is given back for a reason")
	}
	q.returned, q.delays = append(q.returned, c), append(q.delays, delay)
	r := q.find(c)
	r.lease, r.next, r.clean.Attempts = time.Time{}, time.Now().Add(delay), c.Attempts
	return nil
}

func (q *queue) find(c preferences.Clean) *row {
	for _, r := range q.rows {
		if r.clean.ID == c.ID {
			return r
		}
	}
	panic("no such clean")
}

func (q *queue) finish(c preferences.Clean) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.find(c).closed = true
}

func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, r := range q.rows {
		if !r.closed {
			n++
		}
	}
	return n
}

// sweeper is what a story does in place of the use cases.
type sweeper struct {
	sweep
	*queue
}

func (s sweeper) GiveUp(_ context.Context, c preferences.Clean, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil || cause == nil {
		return s.refusal
	}
	s.givenUp = append(s.givenUp, c)
	s.find(c).closed = true
	return nil
}
