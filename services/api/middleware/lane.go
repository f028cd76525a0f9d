package middleware

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/precondition"
)

// Lane lets so many requests work at once, and so many more wait for their turn.
// It stands before the pool of connections to the database: a pool lets everybody
// wait until their time is over, a lane says at once that there is no point.
type Lane struct {
	slots    chan struct{}
	waiting  atomic.Int64
	queue    int64
	patience time.Duration
}

// NewLane returns a lane with so many slots, and so many places in its queue,
// where nobody stays longer than patience.
func NewLane(slots, queue int, patience time.Duration) *Lane {
	return &Lane{slots: make(chan struct{}, slots), queue: int64(queue), patience: patience}
}

// Usage is how many requests work in a lane, how many may, and how many wait.
func (l *Lane) Usage() (working, limit, waiting int) {
	return len(l.slots), cap(l.slots), int(l.waiting.Load())
}

// try takes a slot that is free.
func (l *Lane) try() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait takes a slot as soon as there is one.
func (l *Lane) wait(ctx context.Context) error {
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.queue {
		return busy()
	}
	enough := time.NewTimer(l.patience)
	defer enough.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-enough.C:
		return busy()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Lane) leave() { <-l.slots }

// busy is no failure, which is why it is no fault: it is said so that nothing
// fails.
func busy() error {
	return echo.NewHTTPError(http.StatusServiceUnavailable, "There is more to do than can be done at once. Try again soon.")
}

// AtWork lets a request in by one of the lanes: the first that has a free slot,
// else the last as soon as it has one. The slot is given back with the first byte
// of the answer, when all that needs the database is done: how slowly a caller
// reads costs others nothing. No lanes are no limit.
func AtWork(next echo.HandlerFunc, lanes ...*Lane) echo.HandlerFunc {
	if len(lanes) == 0 {
		return next
	}
	return func(c echo.Context) error {
		lane, err := choose(c.Request().Context(), lanes)
		if err != nil {
			return err
		}
		working := true
		done := func() {
			if working {
				working = false
				lane.leave()
			}
		}
		c.Response().Before(done)
		defer done()
		return next(c)
	}
}

func choose(ctx context.Context, lanes []*Lane) (*Lane, error) {
	for _, l := range lanes {
		if l.try() {
			return l, nil
		}
	}
	last := lanes[len(lanes)-1]
	return last, last.wait(ctx)
}

// Conditional sends requests that name a state they know to one handler and all
// others to another: the former are usually answered without any work.
func Conditional(known, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if len(c.Request().Header[precondition.IfNoneMatch]) > 0 {
			return known(c)
		}
		return next(c)
	}
}
