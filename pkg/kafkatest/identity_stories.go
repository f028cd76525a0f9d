package kafkatest

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

func wireStories() []story {
	return []story{
		{"a broker that restarts knows what it was sent last", knowsTheLastBatch},
		{"what is applied and answered with an error is there once", appliedAndRefused},
	}
}

// forged stands in the values of records that somebody else has written.
const forged = "forged"

// lostIdentity has somebody write under the publisher's own producer id, so that
// the broker refuses its next batch: once as out of its turn, once as of an old
// epoch. Then the topic is made anew, of which nobody knows a producer.
func lostIdentity(t *testing.T, b Broker) {
	t.Helper()
	const batch = 50
	topic := Topic(t, b, 1)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{BatchRecords: 10})
	sent := 0
	more := func() {
		publishAll(t, p, messages(topic, 3, batch, sent))
		sent += batch
	}
	last := func() *kgo.Record {
		log := dump(t, b, topic)[0]
		return log[len(log)-1]
	}
	more()
	mine := last()
	require.GreaterOrEqual(t, mine.ProducerID, int64(0), "it publishes under an identity")
	forge(t, b, topic, mine.ProducerID, mine.ProducerEpoch, batch, 3)
	more()
	require.Equal(t, [2]int64{mine.ProducerID, int64(mine.ProducerEpoch) + 1}, [2]int64{last().ProducerID, int64(last().ProducerEpoch)},
		"out of its turn it begins the next epoch")
	forge(t, b, topic, mine.ProducerID, mine.ProducerEpoch+2, 0, 1)
	more()
	require.NotEqual(t, mine.ProducerID, last().ProducerID, "with an old epoch it asks for another identity")
	log := slices.DeleteFunc(values(dump(t, b, topic))[0], func(v string) bool { return strings.HasPrefix(v, forged) })
	require.Equal(t, expected(t, messages(topic, 3, sent, 0), 1)[0], log, "nothing lost, nothing twice, in order")

	remove(t, b, topic)
	create(t, b, kafka.TopicSpec{Name: topic, Partitions: 1})
	fresh := sent
	more()
	require.Equal(t, expected(t, messages(topic, 3, batch, fresh), 1), values(dump(t, b, topic)))
}

// forge writes a batch under somebody's identity, without compression.
func forge(tb testing.TB, b Broker, topic string, producer int64, epoch int16, sequence, n int) {
	tb.Helper()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(n - 1), FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
		ProducerID: producer, ProducerEpoch: epoch, FirstSequence: int32(sequence), NumRecords: int32(n),
	}
	for i := range n {
		r := kmsg.Record{OffsetDelta: int32(i), Value: []byte(forged)}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // its own length takes a byte
		batch.Records = r.AppendTo(batch.Records)
	}
	const fromCRC, fromAttributes, upToLength = 17, 21, 12
	batch.Length = int32(len(batch.AppendTo(nil)) - upToLength)
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[fromCRC:], crc32.Checksum(raw[fromAttributes:], crc32.MakeTable(crc32.Castagnoli)))

	ask := kmsg.NewPtrProduceRequest()
	ask.Acks, ask.TimeoutMillis = -1, 5000
	to := kmsg.NewProduceRequestTopic()
	client := admin(tb, b)
	id, leader := lookUp(tb, client, topic)
	to.Topic, to.TopicID = topic, id
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = raw
	to.Partitions = append(to.Partitions, part)
	ask.Topics = append(ask.Topics, to)
	answered, err := client.Broker(leader).Request(tb.Context(), ask)
	require.NoError(tb, err)
	answer, ok := answered.(*kmsg.ProduceResponse)
	require.True(tb, ok)
	require.NoError(tb, kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode))
}

// lookUp returns a topic's id and the leader of its first partition.
func lookUp(tb testing.TB, client *kgo.Client, topic string) (id [16]byte, leader int) {
	tb.Helper()
	ask := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = &topic
	ask.Topics = append(ask.Topics, about)
	answer, err := ask.RequestWith(tb.Context(), client)
	require.NoError(tb, err)
	return answer.Topics[0].TopicID, int(answer.Topics[0].Partitions[0].Leader)
}

func wired(tb testing.TB, b Broker) *Wired {
	tb.Helper()
	w, ok := b.(*Wired)
	require.True(tb, ok)
	return w
}

// knowsTheLastBatch loses the answer to a batch and restarts the broker, the hard
// way and in peace, before the same messages come again.
func knowsTheLastBatch(t *testing.T, b Broker) {
	t.Helper()
	const batch = 40
	w := wired(t, b)
	topic := Topic(t, b, 1)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{RetryFor: time.Nanosecond})
	publishAll(t, p, messages(topic, 3, batch, 0))
	sent := batch
	for i, stop := range []func(){w.Kill, func() { require.NoError(t, w.Close()) }} {
		w.Lie(nil)
		msgs := messages(topic, 3, batch, sent)
		for _, err := range p.Publish(t.Context(), msgs) {
			require.ErrorIs(t, err, outbox.ErrUnreachable)
		}
		require.Equal(t, i+1, w.Lies())
		stop()
		w.Revive(t)
		publishAll(t, p, append(msgs, messages(topic, 3, batch, sent+batch)...))
		sent += 2 * batch
	}
	require.Equal(t, expected(t, messages(topic, 3, sent, 0), 1), values(dump(t, b, topic)))
}

// appliedAndRefused has the node write what it is sent, and the publisher told
// that it did not.
func appliedAndRefused(t *testing.T, b Broker) {
	t.Helper()
	const batch = 100
	w := wired(t, b)
	topic := Topic(t, b, 2)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{BatchRecords: 20, RetryFor: patience})
	lies := []*kerr.Error{kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, nil, kerr.NotLeaderForPartition, kerr.NotEnoughReplicasAfterAppend, nil}
	sent := 0
	for range 4 {
		w.Lie(lies...)
		publishAll(t, p, messages(topic, 6, batch, sent))
		sent += batch
	}
	require.Equal(t, 4*len(lies), w.Lies())
	require.Equal(t, expected(t, messages(topic, 6, sent, 0), 2), values(dump(t, b, topic)))
}
