package kafkatest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
)

// troubles counts what a group had to get over.
type troubles struct{ topics, fetches, resets, rebalances atomic.Int64 }

func (c *troubles) hooks() kafka.Hooks {
	return kafka.Hooks{
		Failed: func(s kafka.Stage) {
			switch s {
			case kafka.StageTopics:
				c.topics.Add(1)
			case kafka.StageFetch, kafka.StageOffsets:
				c.fetches.Add(1)
			case kafka.StageJoin, kafka.StageGate, kafka.StageHandle, kafka.StageCommit:
			}
		},
		Reset:      func(string, int, int64, int64) { c.resets.Add(1) },
		Rebalanced: func(int) { c.rebalances.Add(1) },
	}
}

// readsNewTopic deletes a topic under a member and makes it anew, with more
// records than the member has seen: every offset that it knows is there again,
// and means something else.
func readsNewTopic(t *testing.T, b Broker) {
	t.Helper()
	topic := Topic(t, b, 2)
	c := Client(t, b, topic)
	var seen sync.Map
	var total atomic.Int64
	var trouble troubles
	join(t, kafka.GroupConfig{Client: c, Group: Name("group"), Topics: []string{topic}, Hooks: trouble.hooks()},
		func(_ context.Context, r kafka.Record) error {
			seen.Store(string(r.Value), true)
			total.Add(1)
			return nil
		})
	old := messages(topic, 8, 100, 0)
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), old)
	eventually(t, "the old topic is read", func() bool { return total.Load() == 100 })

	remove(t, b, topic)
	eventually(t, "it is missed", func() bool { return trouble.fetches.Load() > 0 })
	// Nobody looks before all is there, where that can be arranged: the log's end says nothing then.
	look := func() {}
	if f, ok := b.(Faulty); ok {
		look = f.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: -1}).Remove
	}
	create(t, b, kafka.TopicSpec{Name: topic, Partitions: 2})
	fresh := messages(topic, 8, 400, 0)
	for i := range fresh {
		fresh[i].Value = append([]byte("new "), fresh[i].Value...)
	}
	publishAll(t, kafka.NewPublisher(c, kafka.PublisherConfig{}), fresh)
	look()
	eventually(t, "the new topic is read whole", func() bool {
		n := 0
		seen.Range(func(v, _ any) bool {
			if s, ok := v.(string); ok && strings.HasPrefix(s, "new ") {
				n++
			}
			return true
		})
		return n == len(fresh)
	})
	require.Positive(t, trouble.resets.Load()+trouble.rebalances.Load()-1, "it is counted, as lost offsets or as a new generation")
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
