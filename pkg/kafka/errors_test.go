package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

func TestAnswersAreJudged(t *testing.T) {
	t.Parallel()
	for want, errs := range map[verdict][]error{
		acked: {nil, kafkago.DuplicateSequenceNumber},
		unanswered: {
			io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, context.Canceled, net.ErrClosed, &net.OpError{Op: "dial", Err: io.EOF},
			protocol.NewErrNoTopic("t"), protocol.NewErrNoPartition("t", 1), protocol.NewErrNoLeader("t", 1),
			kafkago.UnknownTopicOrPartition, kafkago.LeaderNotAvailable, kafkago.NotLeaderForPartition, kafkago.RequestTimedOut,
			kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable, kafkago.NetworkException, kafkago.NotEnoughReplicas,
			kafkago.NotEnoughReplicasAfterAppend, kafkago.KafkaStorageError, kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch,
			kafkago.GroupLoadInProgress, kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup,
			kafkago.SASLAuthenticationFailed, kafkago.ThrottlingQuotaExceeded,
		},
		outOfStep:    {kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId},
		fencedOff:    {kafkago.InvalidProducerEpoch, kafkago.ProducerFenced, kafkago.InvalidProducerIDMapping},
		unacceptable: {kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidRecord, kafkago.InvalidTopic},
		refused: {
			kafkago.Unknown, kafkago.InvalidMessage, kafkago.TopicAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
			kafkago.PolicyViolation, kafkago.Error(9999),
		},
	} {
		for _, err := range errs {
			require.Equal(t, want, judge(err), "%v", err)
			if err != nil {
				require.Equal(t, want, judge(fmt.Errorf("wrapped: %w", err)), "%v", err)
			}
		}
	}
}

func TestTheOutboxUnderstandsEveryAnswer(t *testing.T) {
	t.Parallel()
	at := topicPartition{"topic", 3}
	for code := -1; code < 150; code++ {
		cause := kafkago.Error(code)
		err := publishError(at, judge(cause), cause)
		if judge(cause) == acked {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "topic/3")
		refused, isRefused := errors.AsType[*outbox.Refused](err)
		require.NotEqual(t, isRefused, errors.Is(err, outbox.ErrUnreachable), "%v is one of both", cause)
		if isRefused {
			require.Equal(t, judge(cause) == unacceptable, refused.Permanent)
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	at := topicPartition{"topic", 3}
	for _, tc := range []struct {
		code kafkago.Error
		want string
	}{
		{kafkago.SASLAuthenticationFailed, "PREFS_KAFKA_SASL_PASSWORD"},
		{kafkago.TopicAuthorizationFailed, "Write if we publish to it"},
		{kafkago.GroupAuthorizationFailed, "PREFS_KAFKA_GROUP"},
		{kafkago.ClusterAuthorizationFailed, "IdempotentWrite"},
	} {
		require.ErrorContains(t, publishError(at, judge(tc.code), tc.code), tc.want)
	}
	require.NotContains(t, publishError(at, unanswered, kafkago.NotLeaderForPartition).Error(), "; ", "that passes by itself")
}

func TestBackoffGrowsAndSpreads(t *testing.T) {
	t.Parallel()
	b := backoff{low: 100 * time.Millisecond, high: 30 * time.Second}
	require.Equal(t, 100*time.Millisecond, b.ceiling(0))
	require.Equal(t, 800*time.Millisecond, b.ceiling(3))
	require.Equal(t, 30*time.Second, b.ceiling(9))
	require.Equal(t, 30*time.Second, b.ceiling(1_000_000))
	for retry := range 20 {
		for range 50 {
			d := b.delay(retry)
			require.GreaterOrEqual(t, d, b.low)
			require.LessOrEqual(t, d, b.ceiling(retry))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, b.wait(ctx, 9))
}
