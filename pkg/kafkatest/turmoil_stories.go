package kafkatest

import (
	"context"
	"errors"
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
