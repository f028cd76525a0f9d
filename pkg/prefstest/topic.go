package prefstest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadTopic reads everything that a topic holds by now, each partition in
// order, with a client that is none of ours.
func ReadTopic(tb testing.TB, brokers []string, topic string) []*kgo.Record {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(tb, err)
	defer client.Close()
	left := ends(ctx, tb, client, topic)
	var out []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		require.NoError(tb, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			out = append(out, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return out
}

// ends returns the end of every partition that holds something.
func ends(ctx context.Context, tb testing.TB, client *kgo.Client, topic string) map[int32]int64 {
	tb.Helper()
	meta := kmsg.NewPtrMetadataRequest()
	want := kmsg.NewMetadataRequestTopic()
	want.Topic = &topic
	meta.Topics = append(meta.Topics, want)
	answer, err := meta.RequestWith(ctx, client)
	require.NoError(tb, err)
	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for _, p := range answer.Topics[0].Partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p.Partition, -1 // the end
		asked.Partitions = append(asked.Partitions, part)
	}
	list.Topics = append(list.Topics, asked)
	out := map[int32]int64{}
	for _, shard := range client.RequestSharded(ctx, list) {
		require.NoError(tb, shard.Err)
		answer, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		require.True(tb, ok)
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				if p.Offset > 0 {
					out[p.Partition] = p.Offset
				}
			}
		}
	}
	return out
}

// behind says whether the consumer has records before it, or cannot be asked for
// the moment.
func (s *Stage) behind(tb testing.TB) bool {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Addrs()...))
	require.NoError(tb, err)
	defer client.Close()
	ask := kmsg.NewPtrOffsetFetchRequest()
	ask.Group = Group
	left := map[string]map[int32]int64{}
	for _, topic := range []string{AccountEvents, UserEvents} {
		left[topic] = ends(ctx, tb, client, topic)
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic = topic
		for p := range left[topic] {
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 {
			ask.Topics = append(ask.Topics, t)
		}
	}
	if len(ask.Topics) == 0 {
		return false // nobody has produced anything
	}
	answer, err := ask.RequestWith(ctx, client)
	if err != nil {
		return true
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Offset >= left[t.Topic][p.Partition] {
				delete(left[t.Topic], p.Partition)
			}
		}
	}
	return len(left[AccountEvents])+len(left[UserEvents]) > 0
}
