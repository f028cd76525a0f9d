package operations_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// queue keeps operations in memory the way the store keeps them in rows: with a
// lease, an epoch, and a time before which nobody may claim them.
type queue struct {
	mu       sync.Mutex
	rows     []*row
	away     error // what Claim says while the store cannot be asked
	returned []preferences.Held
	givenUp  []preferences.Held
	refusal  error // what GiveUp says
	parts    int   // how often something is left after that
	renewed  int   // leases
	thief    bool  // somebody else has every lease by now
	delays   []time.Duration
}

type row struct {
	held   preferences.Held
	lease  time.Time
	next   time.Time
	closed bool
}

func (q *queue) open(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		q.rows = append(q.rows, &row{held: preferences.Held{ID: uuid.New(), Kind: preferences.KindClean, Cause: "event:e"}})
	}
}

func (q *queue) Claim(_ context.Context, owner string, lease time.Duration, kinds ...preferences.OperationKind) (preferences.Held, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away != nil {
		return preferences.Held{}, false, q.away
	}
	now := time.Now()
	for _, r := range q.rows {
		if slices.Contains(kinds, r.held.Kind) && !r.closed && !now.Before(r.lease) && !now.Before(r.next) {
			r.lease = now.Add(lease)
			r.held.Owner, r.held.Lease = owner, lease
			r.held.Epoch++
			r.held.Attempts++
			return r.held, true, nil
		}
	}
	return preferences.Held{}, false, nil
}

func (q *queue) Renew(_ context.Context, h preferences.Held) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.thief {
		return fault.New(fault.Aborted, "OPERATION_TAKEN_OVER", "taken over")
	}
	q.renewed++
	q.find(h).lease = time.Now().Add(h.Lease)
	return nil
}

func (q *queue) RetryLater(_ context.Context, c preferences.Held, delay time.Duration, cause error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cause == nil {
		return errors.New("an operation is given back for a reason")
	}
	q.returned, q.delays = append(q.returned, c), append(q.delays, delay)
	r := q.find(c)
	r.lease, r.next, r.held.Attempts = time.Time{}, time.Now().Add(delay), c.Attempts
	return nil
}

func (q *queue) find(c preferences.Held) *row {
	for _, r := range q.rows {
		if r.held.ID == c.ID {
			return r
		}
	}
	panic("no such operation")
}

func (q *queue) finish(c preferences.Held) {
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

func (s sweeper) GiveUp(_ context.Context, h preferences.Held, cause error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil || cause == nil {
		return false, s.refusal
	}
	s.givenUp = append(s.givenUp, h)
	if s.parts > 0 {
		s.parts--
		return false, nil
	}
	s.find(h).closed = true
	return true, nil
}
