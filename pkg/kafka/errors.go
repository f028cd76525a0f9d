package kafka

import (
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// verdict is what a produce attempt's answer means for its batch.
type verdict int

const (
	acked        verdict = iota // written, now or by an earlier attempt
	unanswered                  // away, moving, or silent: perhaps written
	outOfStep                   // the broker expects another sequence number
	fencedOff                   // the broker expects another producer id
	refused                     // not written, and not because of what it says
	unacceptable                // not written, and never will be
)

// judge classifies the answer to a request, a produce request first of all. Whatever is not an answer
// of the broker (no route, no connection, no time left) is unanswered.
func judge(err error) verdict {
	if err == nil {
		return acked
	}
	var code kafkago.Error
	if !errors.As(err, &code) {
		return unanswered
	}
	switch code {
	case kafkago.DuplicateSequenceNumber:
		return acked
	case kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId:
		return outOfStep
	case kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidProducerIDMapping:
		return fencedOff
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidRecord,
		kafkago.InvalidTimestamp, kafkago.UnsupportedForMessageFormat, kafkago.InvalidTopic:
		return unacceptable
	case kafkago.InvalidMessage: // a damaged transfer: says nothing about the record
		return refused
	case kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable, kafkago.UnknownTopicOrPartition,
		kafkago.StaleBrokerEpoch, kafkago.SASLAuthenticationFailed:
		return unanswered
	default:
		if code.Temporary() {
			return unanswered
		}
		return refused
	}
}

// publishError turns an answer into what the outbox understands.
func publishError(at topicPartition, v verdict, err error) error {
	switch v {
	case acked:
		return nil
	case unacceptable:
		return &outbox.Refused{Permanent: true, Err: fmt.Errorf("publish to %s: %w", at, err)}
	case refused, outOfStep, fencedOff:
		return &outbox.Refused{Err: fmt.Errorf("publish to %s: %w", at, err)}
	case unanswered:
	}
	return fmt.Errorf("publish to %s: %w: %w", at, outbox.ErrUnreachable, err)
}
