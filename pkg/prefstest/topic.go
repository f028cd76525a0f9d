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
