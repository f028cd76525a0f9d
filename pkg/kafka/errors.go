package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

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

// judge classifies the answer to a request, a produce request first of all.
// Whatever is not an answer of the broker (no route, no connection, no time left)
// is unanswered.
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
	err = advised(err)
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

// advised adds to an error that no waiting mends what an operator can do about
// it.
func advised(err error) error {
	if what := advice(err); what != "" {
		return fmt.Errorf("%w; %s", err, what)
	}
	return err
}

func advice(err error) string {
	var code kafkago.Error
	if errors.As(err, &code) {
		return granting(code)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the broker's certificate is not trusted: see PREFS_KAFKA_TLS_CA_FILE and PREFS_KAFKA_TLS_SERVER_NAME"
	}
	// So crypto/tls names what the other end complains of.
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" {
		return "the broker refuses our certificate: see PREFS_KAFKA_TLS_CERT_FILE, PREFS_KAFKA_TLS_KEY_FILE and what it trusts"
	}
	return ""
}

// granting is for refusals of a broker that knows well who we are, or does not.
func granting(code kafkago.Error) string {
	switch code {
	case kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState:
		return "see PREFS_KAFKA_SASL_MECHANISM, PREFS_KAFKA_SASL_USERNAME and PREFS_KAFKA_SASL_PASSWORD"
	case kafkago.TopicAuthorizationFailed:
		return "grant our principal Describe on the topic, with Write if we publish to it, with Read if we consume it"
	case kafkago.GroupAuthorizationFailed:
		return "grant our principal Read on the group (PREFS_KAFKA_GROUP)"
	case kafkago.ClusterAuthorizationFailed:
		return "grant our principal IdempotentWrite on the cluster"
	default:
		return ""
	}
}
