package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// troubles counts what a group had to get over.
type troubles struct {
	topics, fetches, commits, resets, rebalances atomic.Int64

	partitions atomic.Int64 // of the last generation
}

func (c *troubles) hooks() kafka.Hooks {
	return kafka.Hooks{
		Failed: func(s kafka.Stage) {
			switch s {
			case kafka.StageTopics:
				c.topics.Add(1)
			case kafka.StageFetch, kafka.StageOffsets:
				c.fetches.Add(1)
			case kafka.StageCommit:
				c.commits.Add(1)
			case kafka.StageJoin, kafka.StageGate, kafka.StageHandle:
			}
		},
		Reset: func(string, int, int64, int64) { c.resets.Add(1) },
		Rebalanced: func(partitions int) {
			c.rebalances.Add(1)
			c.partitions.Store(int64(partitions))
		},
	}
}

// readsNewTopic deletes a topic under a member and makes it anew, with more
// records than the member has seen: every offset that it knows is there again,
// and means something else.
func readsNewTopic(t *testing.T, b Broker) {
	t.Helper()
	r := newRemade(t, b)
	// Nobody looks before all is there, where that can be arranged: the log's end says nothing then.
	look := func() {}
	if f, ok := b.(Faulty); ok {
		look = r.failFetches(f, kerr.UnknownTopicOrPartition)
	}
	r.makeAnew(t, b)
	look()
	r.awaitFresh(t)
}

// readsNewTopicThatGrows has the member see the new log before its end has come
// to where the member was in the old one, and not again before it has gone past
// that.
func readsNewTopicThatGrows(t *testing.T, b Broker) {
	t.Helper()
	f, ok := b.(Faulty)
	require.True(t, ok)
	r := newRemade(t, b)
	look := r.failFetches(f, kerr.NotLeaderForPartition)
	create(t, b, kafka.TopicSpec{Name: r.topic, Partitions: 2})
	few := len(r.fresh) / 20
	publishAll(t, r.publisher, r.fresh[:few])
	seen := r.trouble.fetches.Load()
	eventually(t, "both partitions are looked at", func() bool { return r.trouble.fetches.Load() > seen+10 })
	publishAll(t, r.publisher, r.fresh[few:])
	look()
	r.awaitFresh(t)
}

// readsNewTopicAfterJoining has the member join again while there is no topic:
// it has no partitions until it is made anew.
func readsNewTopicAfterJoining(t *testing.T, b Broker) {
	t.Helper()
	r := newRemade(t, b)
	forgets := cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: -1})
	eventually(t, "it has no partitions", func() bool { return r.trouble.partitions.Load() == 0 })
	forgets.Remove()
	r.makeAnew(t, b)
	r.awaitFresh(t)
}

// commitsNothingOldToNewTopic deletes a topic in whose middle a member is, and
// makes it anew before the member is done with the records at hand: how far it
// has come means nothing there, neither now nor after the next rebalance. What
// it learns of one partition it heeds in the other, too.
func commitsNothingOldToNewTopic(t *testing.T, b Broker) {
	t.Helper()
	r := oldTopic(t, b)
	next, remade := make(chan struct{}), make(chan struct{})
	join(t, r.group, func(ctx context.Context, record kafka.Record) error {
		switch {
		case r.isFresh(record) || record.Offset < 10:
		case record.Partition == 0:
			<-next
		default:
			<-remade
		}
		return r.handle(ctx, record)
	})
	publishAll(t, r.publisher, r.old)
	eventually(t, "what is done is committed", func() bool {
		at := committed(t, b, r.group.Group, r.topic)
		return at[0] == 10 && at[1] == 10
	})
	remove(t, b, r.topic)
	next <- struct{}{}
	eventually(t, "a commit is refused", func() bool { return r.trouble.commits.Load() > 0 })
	r.makeAnew(t, b)
	close(next)
	close(remade)
	r.awaitFresh(t)
}

// readsNewTopicAfterAWhile has the member busy with one record while the topic
// is deleted and made anew, so that it never sees that there was none.
func readsNewTopicAfterAWhile(t *testing.T, b Broker) {
	t.Helper()
	r := oldTopic(t, b)
	begun, done := make(chan struct{}, 2), make(chan struct{})
	m := join(t, r.group, func(ctx context.Context, record kafka.Record) error {
		if !r.isFresh(record) && record.Offset == 10 {
			begun <- struct{}{}
			<-done
		}
		return r.handle(ctx, record)
	})
	publishAll(t, r.publisher, r.old)
	for range 2 {
		<-begun
	}
	remove(t, b, r.topic)
	r.makeAnew(t, b)
	eventually(t, "the member has been away for long", func() bool {
		lags := m.group.Lags()
		return len(lags) == 2 && lags[0].Records > 100 && lags[1].Records > 100
	})
	close(done)
	r.awaitFresh(t)
}

// readsNewTopicAfterSilence has the topic made anew under a member that has only
// just begun, behind its last record.
func readsNewTopicAfterSilence(t *testing.T, b Broker) {
	t.Helper()
	f, ok := b.(Faulty)
	require.True(t, ok)
	r := oldTopic(t, b)
	r.readOld(t).stop()
	m := join(t, r.group, r.handle)
	eventually(t, "both partitions are looked at", func() bool { return len(m.group.Lags()) == 2 })
	look := r.failFetches(f, kerr.UnknownTopicOrPartition)
	seen := r.trouble.fetches.Load()
	eventually(t, "it is missed", func() bool { return r.trouble.fetches.Load() > seen+4 })
	remove(t, b, r.topic)
	r.makeAnew(t, b)
	look()
	r.awaitFresh(t)
}

// remade is a topic that is deleted under a member that has read it.
type remade struct {
	topic     string
	publisher *kafka.Publisher
	group     kafka.GroupConfig
	trouble   troubles
	old       []outbox.Message
	fresh     []outbox.Message // to be published to the topic of the same name

	mu   sync.Mutex
	seen map[string]bool
}

func newRemade(t *testing.T, b Broker) *remade {
	t.Helper()
	r := oldTopic(t, b)
	r.readOld(t)
	remove(t, b, r.topic)
	// A member that has to join again meanwhile has no partitions that it could miss.
	eventually(t, "it is missed", func() bool { return r.trouble.fetches.Load() > 0 || r.trouble.partitions.Load() == 0 })
	return r
}

// oldTopic makes a topic, and prepares what will be published when it is made
// anew.
func oldTopic(t *testing.T, b Broker) *remade {
	t.Helper()
	r := &remade{topic: Topic(t, b, 2), seen: map[string]bool{}}
	c := Client(t, b, r.topic)
	r.publisher = kafka.NewPublisher(c, kafka.PublisherConfig{})
	r.group = kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{r.topic}, Hooks: r.trouble.hooks()}
	r.old, r.fresh = messages(r.topic, 8, 100, 0), messages(r.topic, 8, 400, 0)
	for i := range r.fresh {
		r.fresh[i].Value = append([]byte(freshPrefix), r.fresh[i].Value...)
	}
	return r
}

// readOld has a member join and read all of the old topic.
func (r *remade) readOld(t *testing.T) member {
	t.Helper()
	m := join(t, r.group, r.handle)
	publishAll(t, r.publisher, r.old)
	eventually(t, "the old topic is read", func() bool { return r.has(r.old) })
	return m
}

// makeAnew makes the topic, and publishes what is fresh.
func (r *remade) makeAnew(t *testing.T, b Broker) {
	t.Helper()
	create(t, b, kafka.TopicSpec{Name: r.topic, Partitions: 2})
	publishAll(t, r.publisher, r.fresh)
}

const freshPrefix = "new "

func (*remade) isFresh(record kafka.Record) bool {
	return bytes.HasPrefix(record.Value, []byte(freshPrefix))
}

// handle is a kafka.Handler.
func (r *remade) handle(_ context.Context, record kafka.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[string(record.Value)] = true
	return nil
}

// failFetches answers each with an error until the function that it returns is
// called.
func (r *remade) failFetches(f Faulty, err *kerr.Error) func() {
	return f.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: r.topic, Err: err, Count: -1}).Remove
}

func (r *remade) has(all []outbox.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range all {
		if !r.seen[string(m.Value)] {
			return false
		}
	}
	return true
}

func (r *remade) awaitFresh(t *testing.T) {
	t.Helper()
	eventually(t, "the new topic is read whole", func() bool { return r.has(r.fresh) })
	require.Positive(t, r.trouble.resets.Load()+r.trouble.rebalances.Load()-1, "it is counted, as lost offsets or as a new generation")
}

func remove(tb testing.TB, b Broker, topic string) {
	tb.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{topic}
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = 5000
	res, err := req.RequestWith(tb.Context(), admin(tb, b))
	require.NoError(tb, err)
	require.Zero(tb, res.Topics[0].ErrorCode)
}

// survivesStorm has twelve members come and go, one after the other and some
// together, while records arrive. Whoever leaves in peace has committed what it
// did: nothing comes twice.
func survivesStorm(t *testing.T, b Broker) {
	t.Helper()
	const keys, batch, changes = 30, 100, 12
	topic := Topic(t, b, 6)
	c := Client(t, b, topic)
	l := newLedger()
	var trouble troubles
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}, Hooks: trouble.hooks()}
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	stays := join(t, cfg, l.handle)
	var guests []member
	sent := 0
	for i := range changes {
		guests = append(guests, join(t, cfg, l.handle))
		publishAll(t, p, messages(topic, keys, batch, sent))
		sent += batch
		l.await(t, "progress", func() bool { return l.total >= sent/2 })
		if len(guests) == 1+i%3 { // alone, then by twos and threes
			for _, g := range guests {
				g.stop()
			}
			guests = nil
		}
	}
	for _, g := range guests {
		g.stop()
	}
	publishAll(t, p, messages(topic, keys, batch, sent))
	sent += batch
	l.awaitAll(t, keys, sent)
	awaitPartitions(t, 6, stays)
	stays.stop()
	require.Zero(t, l.check(t, keys, sent), "nothing comes twice")
	require.Greater(t, trouble.rebalances.Load(), int64(changes))
	require.EqualValues(t, committed(t, b, cfg.Group, topic), bounds(t.Context(), t, admin(t, b), topic))
}

// forgetfulBroker knows no topics for a while, as one does that has just been
// started. What a member has read must not come again for that.
func forgetfulBroker(t *testing.T, b Broker) {
	t.Helper()
	const keys, count = 8, 200
	topic := Topic(t, b, 2)
	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	l := newLedger()
	var trouble troubles
	m := join(t, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}, Hooks: trouble.hooks()}, l.handle)
	publishAll(t, p, messages(topic, keys, count, 0))
	l.awaitAll(t, keys, count)

	forgets := cluster(t, b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: -1})
	eventually(t, "it is noticed", func() bool { return trouble.fetches.Load() > 2 })
	forgets.Remove()
	publishAll(t, p, messages(topic, keys, count, count))
	l.awaitAll(t, keys, 2*count)
	m.stop()
	require.Zero(t, l.check(t, keys, 2*count))
	require.Zero(t, trouble.resets.Load())
}

// leavesUndone has a member leave in the middle of a record: its offset must not
// be committed, whatever became of those before it.
func leavesUndone(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 1)
	c := Client(t, b, topic)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), messages(topic, 1, 3, 0))
	cfg := kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}}
	tried := make(chan struct{}, 1)
	l := newLedger()
	first := join(t, cfg, func(ctx context.Context, r kafka.Record) error {
		if r.Offset < 1 {
			return l.handle(ctx, r)
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		return errors.New("not here")
	})
	<-tried
	first.stop()
	require.Equal(t, map[int32]int64{0: 1}, committed(t, b, cfg.Group, topic), "what is not done is not committed")
	second := join(t, cfg, l.handle)
	l.awaitAll(t, 1, 3)
	second.stop()
	require.Zero(t, l.check(t, 1, 3))
}

// coordinator is the index of the node that a group talks to.
func coordinator(tb testing.TB, b Broker, group string) int {
	tb.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = group, []string{group}
	var node int32
	require.Eventually(tb, func() bool {
		res, err := req.RequestWith(tb.Context(), admin(tb, b))
		if err != nil {
			return false
		}
		if len(res.Coordinators) == 0 {
			node = res.NodeID
			return res.ErrorCode == 0
		}
		node = res.Coordinators[0].NodeID
		return res.Coordinators[0].ErrorCode == 0
	}, patience, 100*time.Millisecond, "the group has a coordinator")
	return int(node) - 1
}
