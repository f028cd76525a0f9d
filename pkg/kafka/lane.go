package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// The broker reads a whole request before it refuses it, and cuts the
// connection at 100 MiB by default, which would look like an outage.
const largestRecord = 32 << 20

// resyncs bounds how often one batch gets a new identity.
const resyncs = 3

var produceBackoff = backoff{low: 20 * time.Millisecond, high: time.Second}

// lane is the producer of one partition. Its turn lets one call in at a time,
// so that there is never more than one produce request in flight.
type lane struct {
	p    *Publisher
	at   topicPartition
	turn chan struct{}

	id      identity // of the next batch
	known   bool     // whether id has a producer id
	pending *batch   // sent, and nobody knows whether it was written
}

func newLane(p *Publisher, at topicPartition) *lane {
	return &lane{p: p, at: at, turn: make(chan struct{}, 1)}
}

// publish sends msgs in order and stops at the first failure.
func (l *lane) publish(ctx context.Context, msgs []slot) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		fail(msgs, len(msgs), publishError(l.at, ctx.Err()))
		return
	}
	giveUp := time.Now().Add(l.p.cfg.RetryFor)
	next, msgs := l.takeUp(msgs)
	for len(msgs) > 0 {
		n := l.cut(msgs)
		if next != nil {
			n = next.records
		}
		done, failed, err := l.send(ctx, giveUp, msgs[:n], next)
		if err != nil {
			fail(msgs[done:], failed, err)
			return
		}
		next, msgs = nil, msgs[n:]
	}
}

// fail gives the first n messages the error; the others were held back.
func fail(msgs []slot, n int, err error) {
	for i, m := range msgs {
		if i < n {
			*m.result = err
		} else {
			*m.result = outbox.ErrNotSent
		}
	}
}

// takeUp brings the batch that an earlier call left without an answer to the
// front. When the caller does not want it any more, a new epoch makes sure
// that the broker refuses it, should it still be on its way.
func (l *lane) takeUp(msgs []slot) (*batch, []slot) {
	b := l.pending
	if b == nil {
		return nil, msgs
	}
	if front, ok := b.doubt.first(msgs); ok {
		return b, front
	}
	l.pending = nil
	l.nextEpoch()
	return nil, msgs
}

// cut returns how many messages fit into the next batch, at least one.
func (l *lane) cut(msgs []slot) int {
	size := 0
	for i, m := range msgs {
		size += sizeOf(m.msg)
		if i > 0 && (size > l.p.cfg.BatchBytes || i == l.p.cfg.BatchRecords) {
			return i
		}
	}
	return len(msgs)
}

// send writes msgs as one batch, or halves it until the one message that the
// broker cannot take is alone. It returns how many were written, how many
// failed after those, and why.
func (l *lane) send(ctx context.Context, giveUp time.Time, msgs []slot, b *batch) (done, failed int, err error) {
	if len(msgs) == 1 && sizeOf(msgs[0].msg) > largestRecord {
		return 0, 1, publishError(l.at, kafkago.MessageSizeTooLarge)
	}
	if b == nil {
		if b, err = encode(msgs); err != nil {
			return 0, len(msgs), &outbox.Refused{Permanent: true, Err: err}
		}
	}
	err = l.deliver(ctx, giveUp, b, msgs)
	if judge(err) != unacceptable || len(msgs) == 1 {
		return 0, len(msgs), publishError(l.at, err)
	}
	half := len(msgs) / 2
	done, failed, err = l.send(ctx, giveUp, msgs[:half], nil)
	if err != nil {
		return done, failed, err
	}
	done, failed, err = l.send(ctx, giveUp, msgs[half:], nil)
	return half + done, failed, err
}

// deliver tries one batch until it has an answer or the time is up.
func (l *lane) deliver(ctx context.Context, giveUp time.Time, b *batch, msgs []slot) error {
	strikes := 0
	for retry := 0; ; retry++ {
		err := l.attempt(ctx, &b)
		switch judge(err) {
		case acked:
			l.pending = nil
			l.id.sequence = b.stamped.after(b.records)
			return nil
		case outOfStep:
			l.nextEpoch()
		case fencedOff:
			l.known = false
		case unacceptable:
			l.pending = nil
			return err
		case refused:
			l.remember(b, msgs)
			return err
		case unanswered:
			l.remember(b, msgs)
			if ctx.Err() != nil || time.Now().After(giveUp) || !produceBackoff.wait(ctx, retry) {
				return err
			}
			continue
		}
		l.pending, b.stamped = nil, identity{}
		if strikes++; strikes > resyncs {
			return err
		}
	}
}

// attempt sends the batch once, under the lane's identity.
func (l *lane) attempt(ctx context.Context, b **batch) error {
	if !l.known {
		id, err := l.p.ids.get(ctx, l.id)
		if err != nil {
			// An outage even if the broker answered: it is not about this batch.
			return errors.Join(errNoIdentity, err)
		}
		l.id, l.known = id, true
	}
	_ = b
	ctx, cancel := context.WithTimeout(ctx, l.p.cfg.ProduceTimeout)
	defer cancel()
	r, err := l.p.api.RawProduce(ctx, &kafkago.RawProduceRequest{
		Topic:        l.at.topic,
		Partition:    l.at.partition,
		RequiredAcks: kafkago.RequireAll,
		RawRecords:   protocol.RawRecordSet{Reader: bytes.NewReader((*b).raw)},
	})
	if err != nil {
		return err
	}
	return r.Error
}

var errNoIdentity = errors.New("no producer id")

func (l *lane) remember(b *batch, msgs []slot) {
	if b.doubt == nil {
		b.doubt = doubtAbout(msgs)
	}
	l.pending = b
}

// nextEpoch restarts the sequence under a higher epoch: whatever was sent
// before is refused from the next batch on.
func (l *lane) nextEpoch() {
	if !l.known || l.id.epoch == math.MaxInt16 {
		l.known = false
		return
	}
	l.id = identity{producer: l.id.producer, epoch: l.id.epoch + 1}
}

var _ = fmt.Sprint
