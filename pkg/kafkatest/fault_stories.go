package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

func faultStories() []story {
	return []story{
		{"answers that are lost do not duplicate", lostAnswers},
		{"answers that are lost do not duplicate across calls", lostAnswersAcrossCalls},
		{"leaders move while it publishes and consumes", movingLeaders},
		{"the coordinator moves", movingCoordinator},
		{"a coordinator that is absent is looked for again", absentCoordinator},
		{"a sequence that the broker has lost starts again", lostSequence},
		{"replicas and rights that are missing", refusals},
		{"a compacted log is read to its end", compactedLog},
		{"a handler that hangs is unhealthy", hangingHandler},
		{"a broker that knows no topics for a while is no new log", forgetfulBroker},
		{"a topic that is made anew and grows is read from its beginning", readsNewTopicThatGrows},
		{"a topic that is made anew after its member has joined is read from its beginning", readsNewTopicAfterJoining},
		{"a topic that is made anew under a silent member is read from its beginning", readsNewTopicAfterSilence},
		{"a topic that is made anew under a busy member is read from its beginning", readsNewTopicAfterAWhile},
		{"what was read of a topic is not committed to the one made anew", commitsNothingOldToNewTopic},
		{"a topic that is made anew and short is read from its beginning", readsShortNewTopic},
		{"a member that leaves leaves no offset of a topic to the one made anew", leavesNothingOldToNewTopic},
	}
}

// cluster is the inside of a broker that Run knows to be Faulty.
func cluster(tb testing.TB, b Broker) *kfake.Cluster {
	tb.Helper()
	f, ok := b.(Faulty)
	require.True(tb, ok)
	return f.Cluster()
}

func lostAnswers(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 3)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{BatchRecords: 20, RetryFor: patience})
	var sent []outbox.Message
	for i := range 10 {
		h := cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.RequestTimedOut, Count: 4})
		msgs := messages(topic, 30, 200, i*200)
		for _, err := range p.Publish(t.Context(), msgs) {
			require.NoError(t, err)
		}
		require.Equal(t, 4, h.Hits())
		sent = append(sent, msgs...)
	}
	require.Equal(t, expected(t, sent, 3), values(dump(t, b, topic)))
}

// lostAnswersAcrossCalls gives the publisher no time to find out within a call
// what became of a batch. The relay then comes with the same messages, and
// others around them.
func lostAnswersAcrossCalls(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 2)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{BatchRecords: 25, RetryFor: time.Nanosecond})
	fault := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.RequestTimedOut, Count: 2}

	cluster(t, b).Fault(fault)
	early := messages(topic, 10, 100, 0)
	unreachable := 0
	for _, err := range p.Publish(t.Context(), early) {
		if err != nil {
			unreachable++
		}
	}
	require.Positive(t, unreachable)
	late := messages(topic, 10, 100, 100)
	publishAll(t, p, append(early, late...))

	records := values(dump(t, b, topic))
	require.Equal(t, expected(t, append(early, late...), 2), records)
}

func movingLeaders(t *testing.T, b Broker) {
	t.Helper()
	const keys, rounds, batch = 20, 12, 200
	topic := Topic(t, b, 4)
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	l := newLedger()
	join(t, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}, l.handle)
	var sent []outbox.Message
	for i := range rounds {
		cluster(t, b).ShufflePartitionLeaders()
		msgs := messages(topic, keys, batch, i*batch)
		publishAll(t, p, msgs)
		sent = append(sent, msgs...)
	}
	require.Equal(t, expected(t, sent, 4), values(dump(t, b, topic)))
	l.awaitAll(t, keys, rounds*batch)
	require.Zero(t, l.check(t, keys, rounds*batch))
}

func movingCoordinator(t *testing.T, b Broker) {
	t.Helper()
	const keys, rounds, batch = 20, 6, 200
	topic := Topic(t, b, 4)
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	l := newLedger()
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}
	first, second := join(t, cfg, l.handle), join(t, cfg, l.handle)
	for i := range rounds {
		publishAll(t, p, messages(topic, keys, batch, i*batch))
		l.awaitAll(t, keys, i*batch)
		cluster(t, b).RehashCoordinators()
	}
	l.awaitAll(t, keys, rounds*batch)
	awaitPartitions(t, 4, first, second)
	first.stop()
	second.stop()
	l.check(t, keys, rounds*batch)
}

// absentCoordinator asks about a group whose coordinator is not found, or is not
// the one or not ready when it is asked. Where it is not found, the answer names
// the first node, which is not the group's.
func absentCoordinator(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	c := Client(t, b, topic)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), messages(topic, 2, 10, 0))
	group := Name("group")
	for cluster(t, b).CoordinatorFor(group) == 0 {
		group = Name("group")
	}
	l := newLedger()
	join(t, kafka.GroupConfig{Client: c, Group: group, Topics: []string{topic}}, l.handle)
	l.awaitAll(t, 2, 10)
	eventually(t, "it is committed", func() bool { return committed(t, b, group, topic)[0] == 10 })
	asksAgain(t, b, kmsg.OffsetFetch, group, func(ctx context.Context) error {
		offsets, err := c.Committed(ctx, group, topic)
		if err == nil && offsets[0] != 10 {
			err = fmt.Errorf("committed are %v", offsets)
		}
		return err
	})
	asksAgain(t, b, kmsg.DescribeGroups, group, func(ctx context.Context) error {
		n, state, err := c.Members(ctx, group)
		if err == nil && (n != 1 || state != "Stable") {
			err = fmt.Errorf("%d members are %s", n, state)
		}
		return err
	})
}

// asksAgain makes a request about a group fail in the ways that pass, and then
// in those that do not.
func asksAgain(t *testing.T, b Broker, request kmsg.Key, group string, ask func(context.Context) error) {
	t.Helper()
	fails := func(key kmsg.Key, e *kerr.Error, count int) *kfake.FaultHandle {
		return cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Group: group, Err: e, Count: count})
	}
	for _, e := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator} {
		h := fails(request, e, 2)
		require.NoError(t, ask(t.Context()), e.Message)
		require.Equal(t, 2, h.Hits())
	}
	h := fails(kmsg.FindCoordinator, kerr.CoordinatorNotAvailable, 2)
	require.NoError(t, ask(t.Context()))
	require.Equal(t, 2, h.Hits())

	h = fails(request, kerr.NotCoordinator, -1)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() { asked <- ask(ctx) }()
	require.NoError(t, h.Wait(t.Context(), 3))
	cancel()
	require.Error(t, <-asked, "it does not ask longer than it may")
	h.Remove()

	h = fails(request, kerr.GroupAuthorizationFailed, -1)
	require.ErrorIs(t, ask(t.Context()), kafkago.GroupAuthorizationFailed)
	require.Equal(t, 1, h.Hits(), "a refusal is an answer")
	h.Remove()
}

func lostSequence(t *testing.T, b Broker) {
	t.Helper()
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnknownProducerID} {
		topic := Topic(t, b, 1)
		p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{BatchRecords: 10})
		publishAll(t, p, messages(topic, 2, 50, 0))
		cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: e, Count: 2})
		for _, err := range p.Publish(t.Context(), messages(topic, 2, 50, 50)) {
			require.NoError(t, err, e.Message)
		}
		require.Equal(t, expected(t, messages(topic, 2, 100, 0), 1), values(dump(t, b, topic)), e.Message)

		forever := cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: e, Count: -1})
		err := p.Publish(t.Context(), messages(topic, 2, 1, 100))[0]
		var refused *outbox.Refused
		require.ErrorAs(t, err, &refused)
		require.False(t, refused.Permanent)
		forever.Remove()
		publishAll(t, p, messages(topic, 2, 1, 100))
	}
}

func refusals(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	p := kafka.NewPublisher(Client(t, b, topic), kafka.PublisherConfig{RetryFor: 10 * time.Millisecond})
	msgs := messages(topic, 2, 10, 0)
	publish := func(e *kerr.Error) error {
		h := cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: e, Count: -1})
		defer h.Remove()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return p.Publish(ctx, msgs)[0]
	}
	for _, e := range []*kerr.Error{
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.NotLeaderForPartition,
		kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError,
	} {
		require.ErrorIs(t, publish(e), outbox.ErrUnreachable, e.Message)
	}
	for e, permanent := range map[*kerr.Error]bool{
		kerr.TopicAuthorizationFailed: false, kerr.UnknownServerError: false, kerr.PolicyViolation: false,
		kerr.InvalidRecord: true, kerr.MessageTooLarge: true, kerr.RecordListTooLarge: true, kerr.InvalidTimestamp: true,
	} {
		var refused *outbox.Refused
		require.ErrorAs(t, publish(e), &refused, e.Message)
		require.Equal(t, permanent, refused.Permanent, e.Message)
	}
	publishAll(t, p, msgs)
}

// compactedLog has gaps everywhere, and a last batch of which nothing is left.
func compactedLog(t *testing.T, b Broker) {
	t.Helper()
	topic := Name("topic")
	create(t, b, kafka.TopicSpec{Name: topic, Partitions: 1, Config: map[string]string{"cleanup.policy": "compact"}})
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{BatchRecords: 7})
	msgs := messages(topic, 1, 100, 0)
	for i := range msgs {
		msgs[i].Key = fmt.Appendf(nil, "key-%d", i%13)
	}
	publishAll(t, p, msgs)
	cluster(t, b).Compact()
	left := dump(t, b, topic)[0]
	require.Less(t, len(left), 100)

	for i, r := range receive(t, c, topic, len(left)) {
		require.Equal(t, left[i].Offset, r.Offset)
	}
	group := Name("group")
	m := join(t, kafka.GroupConfig{Client: c, Group: group, Topics: []string{topic}},
		func(context.Context, kafka.Record) error { return nil })
	eventually(t, "the end is reached", func() bool { return committed(t, b, group, topic)[0] == 100 })
	require.Equal(t, []kafka.Lag{{Topic: topic}}, m.group.Lags())
}

func hangingHandler(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	c := Client(t, b, topic)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), messages(topic, 1, 1, 0))
	release := make(chan struct{})
	hangs := make(chan string, 10)
	m := join(t, kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{topic},
		HandlerTimeout: 50 * time.Millisecond, RevokeGrace: 100 * time.Millisecond,
		Hooks: kafka.Hooks{Hung: func(topic string, partition int) { hangs <- fmt.Sprintf("%s/%d", topic, partition) }},
	}, func(ctx context.Context, _ kafka.Record) error {
		<-ctx.Done() // its deadline, which it then ignores
		<-release
		return nil
	})
	require.True(t, m.group.Healthy())
	require.Equal(t, topic+"/0", <-hangs)
	eventually(t, "it is noticed", func() bool { return !m.group.Healthy() })
	close(release)
	eventually(t, "it is over", m.group.Healthy)
	require.Empty(t, hangs, "it is told once")
}
