package accountdemo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// retryEvery is how long the sender waits after a broker did not take an event.
const retryEvery = 500 * time.Millisecond

// publisher is what the sender needs of a broker: the result at i is nil once
// message i is acknowledged by all replicas.
type publisher interface {
	Publish(ctx context.Context, msgs []outbox.Message) []error
}

// sender publishes the events that wait in the book, in order, until each is
// acknowledged. What a broker refuses today it may take tomorrow, so it never
// gives up on one.
type sender struct {
	book      *book
	publisher publisher
	topic     string
	log       *slog.Logger
	stuck     bool // the last round left events behind; said once
}

// run publishes until ctx ends.
func (s *sender) run(ctx context.Context) {
	for {
		err := s.round(ctx)
		if ctx.Err() != nil {
			return
		}
		s.tell(ctx, err)
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(retryEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
		case <-s.book.wake:
		}
	}
}

// round publishes what waits now and returns what keeps the rest.
func (s *sender) round(ctx context.Context) error {
	events := s.book.pending()
	if len(events) == 0 {
		return nil
	}
	messages := make([]outbox.Message, len(events))
	for i, e := range events {
		m, err := e.message(s.topic)
		if err != nil {
			return err
		}
		messages[i] = m
	}
	results := s.publisher.Publish(ctx, messages)
	done := make(map[uuid.UUID]bool, len(events))
	for i, e := range events {
		if results[i] == nil {
			done[e.ID] = true
		}
	}
	if len(done) == 0 {
		return errors.Join(results...)
	}
	return errors.Join(s.book.acknowledge(done), errors.Join(results...))
}

// tell logs when events begin to wait and when they are out.
func (s *sender) tell(ctx context.Context, err error) {
	switch {
	case err != nil && !s.stuck:
		s.log.WarnContext(ctx, "events wait for the broker", slog.Int("pending", len(s.book.pending())), slog.Any("error", err))
	case err == nil && s.stuck:
		s.log.InfoContext(ctx, "events are published again")
	}
	s.stuck = err != nil
}
