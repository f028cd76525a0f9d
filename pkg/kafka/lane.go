package kafka

import (
	"bytes"
	"context"
	"math"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/prefsd/prefsd/pkg/outbox"
)

const (
	// The broker reads a whole request before it refuses it, and cuts the
	// connection at 100 MiB by default, which would look like an outage.
	largestRecord = 32 << 20

	// A batch that still has no valid identity after so many is refused.
	mostIdentities = 3
)

var produceBackoff = backoff{low: 20 * time.Millisecond, high: time.Second}

// lane is the producer of one partition. Its turn lets one call in at a time,
// so that there is never more than one produce request in flight.
type lane struct {
	p    *Publisher
	at   topicPartition
	turn chan struct{}

	id      identity // of the next batch, or nobody
	pending *batch   // sent, and nobody knows whether it was written
}

// outcome is how far a call got in its lane.
type outcome struct {
	written int   // messages in front that are acknowledged
	failed  int   // messages after those that err is about
	err     error // nil when all were written
}

func newLane(p *Publisher, at topicPartition) *lane {
	return &lane{p: p, at: at, turn: make(chan struct{}, 1), id: nobody}
}

// publish sends msgs in order and stops at the first failure.
func (l *lane) publish(ctx context.Context, msgs []slot) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		report(msgs, outcome{failed: len(msgs), err: publishError(l.at, unanswered, ctx.Err())})
		return
	}
	giveUp := time.Now().Add(l.p.cfg.RetryFor)
	next, msgs := l.takeUp(msgs)
	for len(msgs) > 0 {
		n := l.cut(msgs)
		if next != nil {
			n = next.records
		}
		if out := l.send(ctx, giveUp, msgs[:n], next); out.err != nil {
			report(msgs, out)
			return
		}
		next, msgs = nil, msgs[n:]
	}
}

// report tells the messages that were not written why.
func report(msgs []slot, out outcome) {
	for i, m := range msgs[out.written:] {
		if i < out.failed {
			*m.result = out.err
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
	if front, ok := b.first(msgs); ok {
		return b, front
	}
	l.pending = nil
	if b.sent {
		l.nextEpoch()
	}
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

// send writes msgs as one batch, which is b if that exists already. A batch
// that the broker cannot take is halved until the culprit is alone.
func (l *lane) send(ctx context.Context, giveUp time.Time, msgs []slot, b *batch) outcome {
	if len(msgs) == 1 && sizeOf(msgs[0].msg) > largestRecord {
		return outcome{failed: 1, err: publishError(l.at, unacceptable, kafkago.MessageSizeTooLarge)}
	}
	if b == nil {
		var err error
		if b, err = newBatch(msgs); err != nil {
			return outcome{failed: len(msgs), err: publishError(l.at, unacceptable, err)}
		}
	}
	v, err := l.deliver(ctx, giveUp, b)
	switch {
	case v == acked:
		return outcome{written: len(msgs)}
	case v != unacceptable:
		b.remember(msgs)
		return outcome{failed: len(msgs), err: publishError(l.at, v, err)}
	case len(msgs) == 1:
		return outcome{failed: 1, err: publishError(l.at, v, err)}
	}
	half := len(msgs) / 2
	first := l.send(ctx, giveUp, msgs[:half], nil)
	if first.err != nil {
		return first
	}
	second := l.send(ctx, giveUp, msgs[half:], nil)
	second.written += half
	return second
}

// deliver tries one batch until it has an answer or the time is up. Unless it
// was written or never can be, it stays pending.
func (l *lane) deliver(ctx context.Context, giveUp time.Time, b *batch) (verdict, error) {
	l.pending = b
	identities := 1
	for retry := 0; ; retry++ {
		v, err := l.attempt(ctx, b)
		switch v {
		case acked:
			l.pending = nil
			l.id = b.id.after(b.records)
			return v, nil
		case unacceptable:
			l.pending = nil
			return v, err
		case refused:
			return v, err
		case outOfStep, fencedOff:
			if l.nextEpoch(); v == fencedOff {
				l.id = nobody
			}
			b.sent = false
			if identities++; identities > mostIdentities {
				return v, err
			}
		case unanswered:
			if time.Now().After(giveUp) || !produceBackoff.wait(ctx, retry) {
				return v, err
			}
		}
	}
}

// attempt sends the batch once: under the identity that it was sent with
// before, or else under the lane's.
func (l *lane) attempt(ctx context.Context, b *batch) (verdict, error) {
	if !b.sent {
		if err := l.identify(ctx, b); err != nil {
			return unanswered, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.p.cfg.ProduceTimeout)
	defer cancel()
	r, err := l.p.api.RawProduce(ctx, &kafkago.RawProduceRequest{
		Topic:        l.at.topic,
		Partition:    l.at.partition,
		RequiredAcks: kafkago.RequireAll,
		RawRecords:   protocol.RawRecordSet{Reader: bytes.NewReader(b.raw)},
	})
	if err == nil {
		err = r.Error
	}
	return judge(err), err
}

// identify stamps the batch as the lane's next one.
func (l *lane) identify(ctx context.Context, b *batch) error {
	if l.id == nobody {
		id, err := l.p.client.initProducerID(ctx)
		if err != nil {
			return err
		}
		l.id = id
	}
	b.under(l.id)
	return nil
}

// nextEpoch starts the sequence again under a higher epoch: whatever was sent
// before, the broker refuses from the next batch on.
func (l *lane) nextEpoch() {
	if l.id == nobody || l.id.epoch == math.MaxInt16 {
		l.id = nobody
		return
	}
	l.id = identity{producer: l.id.producer, epoch: l.id.epoch + 1}
}
