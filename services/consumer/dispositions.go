package consumer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// disposition is what becomes of a record whose event could not be applied.
type disposition int

const (
	retry      disposition = iota // in place, for as long as it takes: the record is not to blame
	deadLetter                    // at once: the record is to blame
	giveUp                        // in place a few times, then as a dead letter: nobody knows
)

// dispositions is the whole translation from fault to Kafka. What is skipped is
// no fault: see handle.
var dispositions = map[fault.Code]disposition{
	fault.Invalid:              deadLetter,
	fault.Unprocessable:        deadLetter,
	fault.Aborted:              retry,
	fault.Unavailable:          retry,
	fault.Deadline:             retry,
	fault.Internal:             giveUp,
	fault.Unauthenticated:      giveUp,
	fault.Denied:               giveUp,
	fault.NotFound:             giveUp,
	fault.Exists:               giveUp,
	fault.Conflict:             giveUp,
	fault.Precondition:         giveUp,
	fault.PreconditionRequired: giveUp,
	fault.Expired:              giveUp,
}

// maxTries is how often a record may fail for a reason that nobody knows.
const maxTries = 5

// failure is a record that could not be applied.
type failure struct {
	record  events.Record
	event   events.Event
	attempt int
	cause   error
	at      time.Time
	first   time.Time // when the record failed first
}

// dispose decides what becomes of a failure. An error is its cause, or why it
// could not be laid to rest either: the record comes again.
func (c *Consumer) dispose(ctx context.Context, f failure) (Outcome, error) {
	class, what := events.Poison, f.disposition()
	// A handler whose time is up says nothing about the record.
	f.at = c.Now()
	var unexplained int
	unexplained, f.first = c.tries.failed(f.record, f.at, what == giveUp && ctx.Err() == nil)
	switch what {
	case deadLetter:
	case retry:
		return Retried, f.cause
	case giveUp:
		if ctx.Err() != nil || unexplained < maxTries {
			return Retried, f.cause
		}
		class = events.Exhausted
	}
	fresh, err := c.bury(ctx, f, class)
	switch {
	case err != nil:
		return Retried, errors.Join(err, f.cause)
	case !fresh:
		return Duplicate, nil // another delivery was settled before
	}
	c.Log.ErrorContext(ctx, "record became a dead letter", slog.String("topic", f.record.Topic), slog.Int("partition", f.record.Partition),
		slog.Int64("offset", f.record.Offset), slog.String("event_id", f.event.ID), slog.String("class", string(class)),
		slog.Int("attempts", f.attempt), slog.String("traceparent", f.event.Traceparent), slog.Any("error", f.cause))
	return DeadLettered, nil
}

func (f failure) disposition() disposition {
	if errors.Is(f.cause, context.DeadlineExceeded) {
		return retry
	}
	return dispositions[fault.CodeOf(f.cause)]
}

// bury marks the record as dead-lettered and writes the letter, in one commit.
// The relay brings it to Kafka like any event.
func (c *Consumer) bury(ctx context.Context, f failure, class events.ErrorClass) (fresh bool, err error) {
	letter := events.DeadLetter{
		ID: c.NewID(), Topic: c.DeadLetters, Record: f.record, Group: c.Group,
		Class: class, Code: fault.ReasonOf(f.cause), Why: why(f.cause), Attempts: f.attempt, FirstFailedAt: f.first, FailedAt: f.at, Version: c.Version,
	}.Message()
	err = c.Store.Update(ctx, func(ctx context.Context, tx preferences.Tx) error {
		var err error
		if fresh, err = tx.Seen(ctx, c.delivery(f.record, f.event), preferences.DeadLettered); err != nil || !fresh {
			return err
		}
		return tx.Emit(ctx, letter)
	})
	return fresh, err
}

// why is what a dead letter may say of its cause. Only faults have text that is
// safe to show.
func why(cause error) string {
	f, ok := errors.AsType[*fault.Error](cause)
	if !ok {
		return "An unexpected error; the log of the consumer has it."
	}
	parts := []string{f.Message}
	for _, v := range f.Violations {
		parts = append(parts, strings.TrimSpace(v.Field+" "+v.Description)+".")
	}
	return strings.Join(parts, " ")
}

// tries counts the unexplained failures of the record at hand in each
// partition. Its zero value is ready.
type tries struct {
	mu     sync.Mutex
	counts map[place]count
}

type place struct {
	topic     string
	partition int
}

type count struct {
	offset int64
	failed int
	first  time.Time
}

// failed notes a failure, counts it if it is unexplained, and returns how many
// of those the record has and when it failed first, for whatever reason.
func (t *tries) failed(r events.Record, at time.Time, unexplained bool) (n int, first time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[place]count{}
	}
	where := place{r.Topic, r.Partition}
	c, known := t.counts[where]
	if !known || c.offset != r.Offset {
		c = count{offset: r.Offset, first: at}
	}
	if unexplained {
		c.failed++
	}
	t.counts[where] = c
	return c.failed, c.first
}

// settled forgets the record.
func (t *tries) settled(r events.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.counts, place{r.Topic, r.Partition})
}
