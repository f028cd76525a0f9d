package kafkatest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// expected returns the values per partition as another client library would
// place them.
func expected(tb testing.TB, msgs []outbox.Message, partitions int) map[int32][]string {
	tb.Helper()
	placer := kgo.StickyKeyPartitioner(nil).ForTopic("")
	out := map[int32][]string{}
	for _, m := range msgs {
		p := int32(placer.Partition(&kgo.Record{Key: m.Key}, partitions))
		out[p] = append(out[p], string(m.Value))
	}
	return out
}

func publishesInOrder(t *testing.T, b Broker) {
	t.Helper()
	topics := []string{Topic(t, b, 6), Topic(t, b, 1)}
	p := kafka.NewPublisher(Client(t, b, topics...), kafka.PublisherConfig{BatchRecords: 300, BatchBytes: 20_000})
	sent := map[string][]outbox.Message{}
	for round := range 5 {
		var call []outbox.Message
		for i, topic := range topics {
			msgs := messages(topic, 40, 1000, round*1000)
			sent[topic] = append(sent[topic], msgs...)
			if call = append(call, msgs...); i == 0 {
				continue
			}
		}
		for _, err := range p.Publish(t.Context(), call) {
			require.NoError(t, err)
		}
	}
	require.Equal(t, expected(t, sent[topics[0]], 6), values(dump(t, b, topics[0])))
	require.Equal(t, expected(t, sent[topics[1]], 1), values(dump(t, b, topics[1])))
}

func keepsRecordsIntact(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	long := bytes.Repeat([]byte("compressible "), 1000)
	msgs := []outbox.Message{
		{Key: []byte("k"), Value: []byte("v"), Headers: []outbox.Header{
			{Name: "twice", Value: []byte("1")}, {Name: "twice", Value: []byte{0xff, 0x00}}, {Name: "empty", Value: []byte{}}, {Name: "null"},
		}},
		{Key: nil, Value: []byte("no key")},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("tombstone"), Value: nil},
		{Key: []byte("long"), Value: long},
	}
	for i := range msgs {
		msgs[i].ID, msgs[i].EventID, msgs[i].Topic = int64(i), uuid.New(), topic
	}
	client := Client(t, b, topic)
	before := time.Now().Add(-time.Minute)
	publishAll(t, kafka.NewPublisher(client, kafka.PublisherConfig{}), msgs)

	logged := dump(t, b, topic)[0]
	require.Len(t, logged, len(msgs))
	got := receive(t, client, topic, len(msgs))
	for i, m := range msgs {
		require.Equal(t, m.Key, logged[i].Key, "key %d", i)
		require.Equal(t, m.Value, logged[i].Value, "value %d", i)
		require.Equal(t, m.Key, got[i].Key, "key %d", i)
		require.Equal(t, m.Value, got[i].Value, "value %d", i)
		require.Len(t, got[i].Headers, len(m.Headers))
		for j, h := range m.Headers {
			require.Equal(t, kafka.Header(h), got[i].Headers[j])
			require.Equal(t, kgo.RecordHeader{Key: h.Name, Value: h.Value}, logged[i].Headers[j])
		}
		require.EqualValues(t, i, got[i].Offset)
		require.Equal(t, 1, got[i].Attempt)
		require.WithinRange(t, got[i].Time, before, time.Now().Add(time.Minute))
	}
}

func refusesOversized(t *testing.T, b Broker) {
	t.Helper()
	topic := Name("topic")
	create(t, b, kafka.TopicSpec{Name: topic, Partitions: 2, Config: map[string]string{"max.message.bytes": "20000"}})
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{})
	msgs := messages(topic, 8, 400, 0)
	const culprit = 123
	msgs[culprit].Value = incompressible(60_000)

	var held []outbox.Message
	routes := p.Route(t.Context(), msgs)
	for i, err := range p.Publish(t.Context(), msgs) {
		switch {
		case i == culprit:
			refused, ok := errors.AsType[*outbox.Refused](err)
			require.True(t, ok, "%v", err)
			require.True(t, refused.Permanent)
		case i > culprit && routes[i] == routes[culprit]:
			require.ErrorIs(t, err, outbox.ErrNotSent)
			held = append(held, msgs[i])
		default:
			require.NoError(t, err, "message %d", i)
		}
	}
	require.NotEmpty(t, held)
	for _, err := range p.Publish(t.Context(), held) {
		require.NoError(t, err)
	}
	rest := append(msgs[:culprit:culprit], msgs[culprit+1:]...)
	require.Equal(t, expected(t, rest, 2), values(dump(t, b, topic)))
}

// incompressible returns n bytes that stay n bytes when compressed.
func incompressible(n int) []byte {
	var out []byte
	for len(out) < n {
		id := uuid.New()
		out = append(out, id[:]...)
	}
	return out[:n]
}

func awaitsTopicToPublish(t *testing.T, b Broker) {
	t.Helper()
	topic := Name("topic")
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{})
	msgs := messages(topic, 3, 30, 0)
	for _, err := range p.Publish(t.Context(), msgs) {
		require.ErrorIs(t, err, outbox.ErrUnreachable)
		require.ErrorContains(t, err, topic)
	}
	require.Equal(t, make([]string, len(msgs)), p.Route(t.Context(), msgs))

	create(t, b, kafka.TopicSpec{Name: topic, Partitions: 3})
	publishAll(t, p, msgs)
	require.Equal(t, expected(t, msgs, 3), values(dump(t, b, topic)))
}

func keepsTopics(t *testing.T, b Broker) {
	t.Helper()
	name := Name("topic")
	c := Client(t, b)
	want := []kafka.TopicSpec{{Name: name, Partitions: 2, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "86400000"}}}

	reports, err := c.CheckTopics(t.Context(), want)
	require.NoError(t, err)
	require.True(t, reports[0].Missing)
	reports, err = c.EnsureTopics(t.Context(), want)
	require.NoError(t, err)
	require.Equal(t, []kafka.TopicReport{{Name: name, Created: true, Partitions: 2, ReplicationFactor: 1, Settings: want[0].Config}}, reports)
	reports, err = c.EnsureTopics(t.Context(), want)
	require.NoError(t, err)
	require.Equal(t, []kafka.TopicReport{{Name: name, Partitions: 2, ReplicationFactor: 1, Settings: want[0].Config}}, reports)

	want[0].Partitions, want[0].ReplicationFactor, want[0].Config["retention.ms"] = 4, 3, "1000"
	for range 2 { // the second time shows that the first changed nothing
		reports, err = c.EnsureTopics(t.Context(), want)
		require.NoError(t, err)
		require.Equal(t, 2, reports[0].Partitions)
		require.Equal(t, []string{
			"has 2 partitions instead of 4",
			"has 1 replicas instead of 3",
			"has retention.ms=86400000 instead of 1000",
		}, reports[0].Mismatches)
	}

	other := Name("topic")
	_, err = c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: other, Partitions: 1, ReplicationFactor: 99}})
	require.ErrorContains(t, err, "create topic "+other)
}

func scansTopics(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 3)
	c := Client(t, b, topic)
	msgs := messages(topic, 10, 300, 0)
	publisher := kafka.NewPublisher(c, kafka.PublisherConfig{BatchRecords: 20})
	publishAll(t, publisher, msgs)
	got := map[int32][]string{}
	scan := func(from kafka.Offsets) int {
		clear(got)
		n := 0
		require.NoError(t, c.Scan(t.Context(), topic, from, func(r kafka.Record) error {
			if n++; n == 1 {
				publishAll(t, publisher, messages(topic, 10, 50, len(msgs)))
			}
			got[int32(r.Partition)] = append(got[int32(r.Partition)], string(r.Value))
			return nil
		}))
		return n
	}
	require.Equal(t, 300, scan(nil))
	require.Equal(t, expected(t, msgs, 3), got)
	first, end, err := c.Bounds(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, kafka.Offsets{0: 0, 1: 0, 2: 0}, first)
	require.EqualValues(t, 350, end[0]+end[1]+end[2])
	require.Zero(t, scan(end))
	deleteRecords(t, b, topic, 30)
	require.Equal(t, int(end[0])-30+1, scan(kafka.Offsets{0: 7, 1: end[1], 2: end[2] - 1}), "what the log no longer has is passed over")

	since, err := c.Since(t.Context(), topic, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	first, end, err = c.Bounds(t.Context(), topic)
	require.NoError(t, err)
	require.Equal(t, first, since)
	since, err = c.Since(t.Context(), topic, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, end, since)
	committed, err := c.Committed(t.Context(), Name("group"), topic)
	require.NoError(t, err)
	require.Empty(t, committed)

	stop := errors.New("enough")
	require.ErrorIs(t, c.Scan(t.Context(), topic, nil, func(kafka.Record) error { return stop }), stop)
	require.ErrorIs(t, c.Scan(t.Context(), Name("topic"), nil, func(kafka.Record) error { return nil }), kafka.ErrNoTopic)
}
