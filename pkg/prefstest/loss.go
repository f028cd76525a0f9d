package prefstest

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/prefsd/prefsd/pkg/verify"
)

// Rowless are the events on the topics that the outbox does not know.
func (s *Stage) Rowless(tb testing.TB) []verify.Delivered {
	tb.Helper()
	known := map[uuid.UUID]bool{}
	require.NoError(tb, s.Store.Snapshot(tb.Context(), func(src verify.Source) error {
		for row, err := range src.Outbox(tb.Context()) {
			if err != nil {
				return err
			}
			known[row.EventID] = true
		}
		return nil
	}))
	var out []verify.Delivered
	for _, d := range s.delivered(tb) {
		if !known[d.EventID] {
			out = append(out, d)
		}
	}
	return out
}

// Delivery holds the topics against the outbox, as prefsctl verify does.
func (s *Stage) Delivery(tb testing.TB) verify.Report {
	tb.Helper()
	seen := s.delivered(tb)
	return s.report(tb, func(ctx context.Context, src verify.Source) (verify.Report, error) {
		return verify.Delivery(ctx, src, seen, verify.AtOnce)
	})
}

// Rewind makes the consumers, none of which may run, read the owners' events
// again from the beginning.
func (s *Stage) Rewind(tb testing.TB) {
	tb.Helper()
	// Younger requests do not name topics, but number them.
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Addrs()...), kgo.MaxVersions(kversion.V3_6_0()))
	require.NoError(tb, err)
	defer client.Close()
	ask := kmsg.NewPtrOffsetCommitRequest()
	ask.Group = Group
	for _, topic := range []string{AccountEvents, UserEvents} {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = topic
		for p := range ends(tb.Context(), tb, client, topic) {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition = p
			t.Partitions = append(t.Partitions, partition)
		}
		ask.Topics = append(ask.Topics, t)
	}
	answer, err := ask.RequestWith(tb.Context(), client)
	require.NoError(tb, err)
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			require.Zero(tb, p.ErrorCode, "rewind %s/%d", t.Topic, p.Partition)
		}
	}
}
