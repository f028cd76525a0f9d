package kafkatest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

func crashStories() []story {
	return []story{
		{"a broker is killed and comes back", killedBroker},
	}
}

func outageStories() []story {
	return []story{
		{"an outage ends by itself", outage},
	}
}

func clusterStories() []story {
	return []story{
		{"coordinators and leaders are killed", killedNodes},
	}
}

// traffic is a publisher and two members at work until finish is called.
type traffic struct {
	topic    string
	group    string
	keys     int
	members  []member
	ledger   *ledger
	stop     chan struct{}
	outcome  chan error
	messages []outbox.Message // owned by the publisher until outcome
}

func startTraffic(tb testing.TB, b Broker) *traffic {
	tb.Helper()
	f := &traffic{
		topic: Topic(tb, b, 4), group: Name("group"), keys: 20, ledger: newLedger(),
		stop: make(chan struct{}), outcome: make(chan error, 1),
	}
	c := Client(tb, b, f.topic)
	cfg := kafka.GroupConfig{Client: c, Group: f.group, Topics: []string{f.topic}}
	f.members = []member{join(tb, cfg, f.ledger.handle), join(tb, cfg, f.ledger.handle)}
	p := kafka.NewPublisher(c, kafka.PublisherConfig{})
	ctx := tb.Context()
	go func() { f.outcome <- f.publish(ctx, p) }()
	return f
}

func (f *traffic) publish(ctx context.Context, p outbox.Publisher) error {
	const batch = 50
	tick := time.NewTicker(5 * time.Millisecond) // some 10,000 messages a second
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return nil
		case <-tick.C:
		}
		msgs := messages(f.topic, f.keys, batch, len(f.messages))
		if err := publish(ctx, p, msgs); err != nil {
			return err
		}
		f.messages = append(f.messages, msgs...)
	}
}

// flow waits until a thousand more records have come through.
func (f *traffic) flow(tb testing.TB) {
	tb.Helper()
	f.ledger.mu.Lock()
	target := f.ledger.total + 1000
	f.ledger.mu.Unlock()
	f.ledger.await(tb, "traffic", func() bool { return f.ledger.total >= target })
}

// finish requires that the log holds every message once and in order, and that
// the group has seen all of it.
func (f *traffic) finish(tb testing.TB, b Broker) {
	tb.Helper()
	close(f.stop)
	require.NoError(tb, <-f.outcome)
	require.Equal(tb, expected(tb, f.messages, 4), values(dump(tb, b, f.topic)), "nothing lost, nothing twice, in order")
	f.ledger.awaitAll(tb, f.keys, len(f.messages))
	awaitPartitions(tb, 4, f.members...)
	for _, m := range f.members {
		m.stop()
	}
	repeated := f.ledger.check(tb, f.keys, len(f.messages))
	tb.Logf("%d messages, %d of them handled again", len(f.messages), repeated)
}

func killedBroker(t *testing.T, b Broker) {
	t.Helper()
	m, ok := b.(Mortal)
	require.True(t, ok)
	f := startTraffic(t, b)
	f.flow(t)
	m.Kill()
	m.Revive(t)
	f.flow(t)
	f.finish(t, b)
}

func killedNodes(t *testing.T, b Broker) {
	t.Helper()
	a, ok := b.(*Apache)
	require.True(t, ok)
	f := startTraffic(t, b)
	for range 2 { // each time the node that the group talks to, which leads some partitions too
		f.flow(t)
		n := a.nodes[coordinator(t, b, f.group)]
		n.kill()
		f.flow(t) // the others take over
		require.NoError(t, n.start())
		require.NoError(t, n.await(t.Context()))
	}
	f.finish(t, b)
}

// outage has a broker that is away when everything starts, and again later.
func outage(t *testing.T, b Broker) {
	t.Helper()
	const keys = 4
	m, ok := b.(Mortal)
	require.True(t, ok)
	topic := Topic(t, b, 2)
	m.Kill()

	c := Client(t, b, topic)
	p := kafka.NewPublisher(c, kafka.PublisherConfig{RetryFor: 100 * time.Millisecond})
	l := newLedger()
	g := join(t, kafka.GroupConfig{
		Client: c, Group: Name("group"), Topics: []string{topic}, ReadyGrace: 200 * time.Millisecond,
	}, l.handle)
	for round := range 2 {
		msgs := messages(topic, keys, 100, round*100)
		start := time.Now()
		for _, err := range p.Publish(t.Context(), msgs) {
			require.Error(t, err)
			require.False(t, isRefused(err), "an outage is nobody's fault: %v", err)
		}
		require.Less(t, time.Since(start), 10*time.Second)
		eventually(t, "the member is not ready", func() bool { return !g.group.Ready() })

		m.Revive(t)
		publishAll(t, p, msgs)
		l.awaitAll(t, keys, (round+1)*100)
		eventually(t, "the member is ready", g.group.Ready)
		if round == 0 {
			m.Kill()
		}
	}
	g.stop()
	l.check(t, keys, 200)
	require.Equal(t, expected(t, messages(topic, keys, 200, 0), 2), values(dump(t, b, topic)))
}

func isRefused(err error) bool {
	_, refused := errors.AsType[*outbox.Refused](err)
	return refused
}
