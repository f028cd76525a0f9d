package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
)

// receive returns the first n records that a new group sees.
func receive(tb testing.TB, c *kafka.Client, topic string, n int) []kafka.Record {
	tb.Helper()
	records := make(chan kafka.Record, n)
	m := join(tb, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}},
		func(_ context.Context, r kafka.Record) error {
			select {
			case records <- r:
				return nil
			default:
				return errors.New("too many records")
			}
		})
	defer m.stop()
	got := make([]kafka.Record, 0, n)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for len(got) < n {
		select {
		case r := <-records:
			got = append(got, r)
		case <-timeout.C:
			require.Fail(tb, "records are missing", "%d of %d", len(got), n)
		}
	}
	return got
}

func sharesPartitions(t *testing.T, b Broker) {
	t.Helper()
	const keys, batches, batch = 30, 12, 250
	topic := Topic(t, b, 6)
	c := Client(t, b, topic)
	l := newLedger()
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})

	first, second := join(t, cfg, l.handle), join(t, cfg, l.handle)
	var third member
	for i := range batches {
		publishAll(t, p, messages(topic, keys, batch, i*batch))
		switch i {
		case 2:
			third = join(t, cfg, l.handle)
		case 5:
			first.stop()
		case 8:
			third.stop()
			first = join(t, cfg, l.handle)
		}
		// Some progress between the changes, so that they meet work at hand.
		l.await(t, "progress", func() bool { return l.total >= i*batch/2 })
	}
	l.awaitAll(t, keys, batches*batch)
	awaitPartitions(t, 6, first, second)
	first.stop()
	second.stop()
	l.check(t, keys, batches*batch)
	require.EqualValues(t, committed(t, b, cfg.Group, topic), bounds(t.Context(), t, admin(t, b), topic))
}

// awaitPartitions waits until the members together have so many, and each some.
func awaitPartitions(tb testing.TB, total int, members ...member) {
	tb.Helper()
	eventually(tb, "partitions are shared", func() bool {
		sum := 0
		for _, m := range members {
			n := len(m.group.Lags())
			if n == 0 {
				return false
			}
			sum += n
		}
		return sum == total
	})
}

// eventually polls what has no signal to wait for.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	require.Eventually(tb, ok, patience, 20*time.Millisecond, what)
}

// admin returns another library's client, for what the product never does.
func admin(tb testing.TB, b Broker, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addrs()...))...)
	require.NoError(tb, err)
	tb.Cleanup(cl.Close)
	return cl
}

// committed returns a group's offsets, without the partitions that have none.
func committed(tb testing.TB, b Broker, group, topic string) map[int32]int64 {
	tb.Helper()
	cl := admin(tb, b)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = topic, partitionsOf(tb.Context(), tb, cl, topic)
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(tb.Context(), cl)
	require.NoError(tb, err)
	offsets := map[int32]int64{}
	for _, t := range res.Topics { // none when nothing is committed
		for _, p := range t.Partitions {
			require.Zero(tb, p.ErrorCode)
			if p.Offset >= 0 {
				offsets[p.Partition] = p.Offset
			}
		}
	}
	return offsets
}

func continuesAfterCommit(t *testing.T, b Broker) {
	t.Helper()
	const keys = 8
	topic := Topic(t, b, 4)
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}

	l := newLedger()
	for i := range 3 {
		m := join(t, cfg, l.handle)
		publishAll(t, p, messages(topic, keys, 200, i*200))
		l.awaitAll(t, keys, (i+1)*200)
		m.stop()
	}
	require.Zero(t, l.check(t, keys, 600), "a member that left in peace committed what it did")
}

func awaitsTopicToConsume(t *testing.T, b Broker) {
	t.Helper()
	there, later := Topic(t, b, 2), Name("topic")
	c := Client(t, b, there, later)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	l := newLedger()
	var waits atomic.Int64
	m := join(t, kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{there, later},
		Hooks: kafka.Hooks{Failed: func(s kafka.Stage) {
			if s == kafka.StageTopics {
				waits.Add(1)
			}
		}},
	}, l.handle)
	publishAll(t, p, messages(there, 4, 40, 0))
	eventually(t, "the member waits", func() bool { return waits.Load() >= 2 })
	require.False(t, m.group.Ready())

	create(t, b, kafka.TopicSpec{Name: later, Partitions: 3})
	l.awaitAll(t, 4, 40)
	require.True(t, m.group.Ready())
	awaitPartitions(t, 5, m)
}

func hidesAborted(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tx := admin(t, b, kgo.TransactionalID(Name("tx")), kgo.DefaultProduceTopic(topic))
	other := admin(t, b, kgo.DefaultProduceTopic(topic))
	produce := func(cl *kgo.Client, value string) {
		require.NoError(t, cl.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr())
	}
	for round := range 3 {
		require.NoError(t, tx.BeginTransaction())
		produce(tx, fmt.Sprintf("aborted %d", round))
		produce(other, fmt.Sprintf("plain %d", round)) // between the lines of an aborted transaction
		produce(tx, fmt.Sprintf("aborted too %d", round))
		require.NoError(t, tx.EndTransaction(ctx, kgo.TryAbort))
		require.NoError(t, tx.BeginTransaction())
		produce(tx, fmt.Sprintf("committed %d", round))
		require.NoError(t, tx.EndTransaction(ctx, kgo.TryCommit))
	}

	c := Client(t, b, topic)
	var got []string
	for _, r := range receive(t, c, topic, 6) {
		got = append(got, string(r.Value))
	}
	require.Equal(t, []string{"plain 0", "committed 0", "plain 1", "committed 1", "plain 2", "committed 2"}, got)

	// A member that ends behind the last marker has no lag, and commits there.
	group := Name("group")
	m := join(t, kafka.GroupConfig{Client: c, Group: group, Topics: []string{topic}}, func(context.Context, kafka.Record) error { return nil })
	end := bounds(ctx, t, admin(t, b), topic)
	eventually(t, "the marker is passed", func() bool { return committed(t, b, group, topic)[0] == end[0] })
	require.Equal(t, []kafka.Lag{{Topic: topic}}, m.group.Lags())
}

func survivesRetention(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	publishAll(t, p, messages(topic, 1, 100, 0))
	type reset struct{ from, to int64 }
	resets := make(chan reset, 10)
	seen := make(chan int64, 1000)
	cfg := kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{topic},
		Hooks: kafka.Hooks{Reset: func(_ string, _ int, from, to int64) { resets <- reset{from, to} }},
	}
	handle := func(_ context.Context, r kafka.Record) error { seen <- r.Offset; return nil }
	m := join(t, cfg, handle)
	for want := range int64(100) {
		require.Equal(t, want, <-seen)
	}
	m.stop()
	require.Empty(t, resets, "a first start is not a reset")

	publishAll(t, p, messages(topic, 1, 100, 100))
	deleteRecords(t, b, topic, 150)
	join(t, cfg, handle)
	for want := int64(150); want < 200; want++ {
		require.Equal(t, want, <-seen)
	}
	require.Equal(t, reset{100, 150}, <-resets)
	require.Empty(t, resets)
}

func deleteRecords(tb testing.TB, b Broker, topic string, below int64) {
	tb.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = below
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = 5000
	res, err := req.RequestWith(tb.Context(), admin(tb, b))
	require.NoError(tb, err)
	require.Zero(tb, res.Topics[0].Partitions[0].ErrorCode)
}

func blocksOnePartition(t *testing.T, b Broker) {
	t.Helper()
	const keys, count = 12, 240
	topic := Topic(t, b, 3)
	c := Client(t, b, topic)
	msgs := messages(topic, keys, count, 0)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), msgs)
	poison := string(msgs[keys*3].Value) // the fourth of key-0
	var healed atomic.Bool
	var attempts atomic.Int64
	l := newLedger()
	m := join(t, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}},
		func(ctx context.Context, r kafka.Record) error {
			if string(r.Value) == poison && !healed.Load() {
				attempts.Store(int64(r.Attempt))
				return errors.New("not yet")
			}
			return l.handle(ctx, r)
		})

	others := 0
	for _, vs := range expected(t, msgs, 3) {
		if !slices.Contains(vs, poison) {
			others += len(vs)
		}
	}
	require.Positive(t, others)
	l.await(t, "the other partitions", func() bool { return l.total >= others+3 })
	eventually(t, "it is tried again and again", func() bool { return attempts.Load() > 5 })
	l.mu.Lock()
	require.Len(t, l.seen["key-0"], 3)
	l.mu.Unlock()
	require.True(t, m.group.Healthy())
	healed.Store(true)
	l.awaitAll(t, keys, count)
	require.Zero(t, l.check(t, keys, count))
}

func waitsAtGate(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 4)
	c := Client(t, b, topic)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), messages(topic, 16, 160, 0))
	open := make(chan struct{})
	var waiting atomic.Int64
	l := newLedger()
	m := join(t, kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{topic},
		Gate: func(ctx context.Context) error {
			waiting.Add(1)
			defer waiting.Add(-1)
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}, l.handle)
	eventually(t, "all partitions wait", func() bool { return waiting.Load() == 4 })
	require.Zero(t, l.total)
	require.True(t, m.group.Ready())
	close(open)
	l.awaitAll(t, 16, 160)
	require.Zero(t, l.check(t, 16, 160))
}

// finishesBeforeRevoke has a handler that takes longer than the session, when
// another member joins: the coordinator must neither give the partition away
// nor take the busy member for dead.
func finishesBeforeRevoke(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	c := Client(t, b, topic)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), messages(topic, 1, 2, 0))
	var mu sync.Mutex
	var story []string
	tell := func(s string) { mu.Lock(); story = append(story, s); mu.Unlock() }
	entered, done := make(chan struct{}), make(chan struct{})
	release := make(chan struct{})
	var once, finish sync.Once
	handle := func(_ context.Context, r kafka.Record) error {
		tell(fmt.Sprintf("begin %d", r.Offset))
		if r.Offset == 0 {
			once.Do(func() { close(entered) })
			<-release
		}
		tell(fmt.Sprintf("end %d", r.Offset))
		if r.Offset == 1 {
			finish.Do(func() { close(done) })
		}
		return nil
	}
	cfg := kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{topic},
		HandlerTimeout: 8 * time.Second, RevokeGrace: 9 * time.Second,
	}
	first := join(t, cfg, handle)
	<-entered
	go func() { // longer than the session of 6 seconds
		defer close(release)
		<-time.After(6500 * time.Millisecond)
	}()
	second := join(t, cfg, handle)
	<-done
	first.stop()
	second.stop()
	require.Equal(t, []string{"begin 0", "end 0", "begin 1", "end 1"}, story)
	require.Equal(t, map[int32]int64{0: 2}, committed(t, b, cfg.Group, topic))
}

func findsNewPartitions(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 2)
	c := Client(t, b, topic)
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}
	l := newLedger()
	first, second := join(t, cfg, l.handle), join(t, cfg, l.handle)
	awaitPartitions(t, 2, first, second)

	req := kmsg.NewPtrCreatePartitionsRequest()
	grown := kmsg.NewCreatePartitionsRequestTopic()
	grown.Topic, grown.Count = topic, 5
	req.Topics = append(req.Topics, grown)
	req.TimeoutMillis = 5000
	res, err := req.RequestWith(t.Context(), admin(t, b))
	require.NoError(t, err)
	require.Zero(t, res.Topics[0].ErrorCode)

	awaitPartitions(t, 5, first, second)
	msgs := messages(topic, 20, 100, 0)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	eventually(t, "the publisher knows the new partitions", func() bool {
		return slices.Contains(p.Route(t.Context(), msgs), topic+"/4")
	})
	publishAll(t, p, msgs)
	l.awaitAll(t, 20, 100)
	require.Equal(t, expected(t, msgs, 5), values(dump(t, b, topic)))
}
