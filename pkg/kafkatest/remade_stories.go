package kafkatest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

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
	r.awaitCommits(t, b, 10)
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

// leavesNothingOldToNewTopic has the member leave as soon as it is done with the
// records that it was busy with: the next one must not go on behind them in the
// topic that is there by then.
func leavesNothingOldToNewTopic(t *testing.T, b Broker) {
	t.Helper()
	r, m, release := busyWhileGone(t, b)
	r.makeAnew(t, b)
	handled := r.handled()
	release()
	eventually(t, "both records are done", func() bool { return r.handled() >= handled+2 })
	m.stop()
	join(t, r.group, r.handle)
	r.awaitFresh(t)
}

// readsShortNewTopic has a busy member come back to a topic that reaches beyond
// what it has handled, but not to the end of what it had fetched.
func readsShortNewTopic(t *testing.T, b Broker) {
	t.Helper()
	r, _, release := busyWhileGone(t, b)
	r.fresh = r.fresh[:40]
	r.makeAnew(t, b)
	release()
	r.awaitFresh(t)
}

// busyWhileGone deletes a topic whose partitions are both fetched whole, while
// the member is busy with the eleventh record of each. Once it is released it
// stays with the twelfth for as long as a handler may.
func busyWhileGone(t *testing.T, b Broker) (r *remade, m member, release func()) {
	t.Helper()
	r = oldTopic(t, b)
	publishAll(t, r.publisher, r.old)
	done := make(chan struct{})
	m = join(t, r.group, func(ctx context.Context, record kafka.Record) error {
		switch {
		case r.isFresh(record) || record.Offset < 10:
		case record.Offset == 10:
			<-done
		default:
			<-ctx.Done()
			return ctx.Err()
		}
		return r.handle(ctx, record)
	})
	r.awaitCommits(t, b, 10)
	remove(t, b, r.topic)
	eventually(t, "it is missed", func() bool {
		lags := m.group.Lags()
		return len(lags) == 2 && lags[0].Blind && lags[1].Blind
	})
	return r, m, func() { close(done) }
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

// handled is how many different records were handled so far.
func (r *remade) handled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// awaitCommits waits until the group has come so far in both partitions.
func (r *remade) awaitCommits(t *testing.T, b Broker, offset int64) {
	t.Helper()
	eventually(t, "what is done is committed", func() bool {
		at := committed(t, b, r.group.Group, r.topic)
		return at[0] == offset && at[1] == offset
	})
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
