package devkafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg devkafka.Config) *devkafka.Broker {
	t.Helper()
	b, err := devkafka.Start(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func connect(t *testing.T, b *devkafka.Broker) *kafka.Client {
	t.Helper()
	c, err := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func publish(t *testing.T, c *kafka.Client, topic string, from, to int) {
	t.Helper()
	var msgs []outbox.Message
	for i := from; i < to; i++ {
		msgs = append(msgs, outbox.Message{ID: int64(i), EventID: uuid.New(), Topic: topic, Value: fmt.Append(nil, i)})
	}
	for _, err := range kafka.NewPublisher(c, kafka.PublisherConfig{}).Publish(t.Context(), msgs) {
		require.NoError(t, err)
	}
}

// consume handles n records as the group "readers" and leaves.
func consume(t *testing.T, c *kafka.Client, topic string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	g := kafka.NewGroup(kafka.GroupConfig{Client: c, Group: "readers", Topics: []string{topic}},
		func(_ context.Context, r kafka.Record) error {
			if got = append(got, string(r.Value)); len(got) == n {
				cancel()
			}
			return nil
		}, slog.New(slog.DiscardHandler))
	require.NoError(t, g.Run(ctx))
	return got
}

func TestALaterStartContinues(t *testing.T) {
	t.Parallel()
	cfg := devkafka.Config{Dir: t.TempDir(), Topics: []devkafka.Topic{{Name: "a", Partitions: 1}}}
	first := start(t, cfg)
	c := connect(t, first)
	publish(t, c, "a", 0, 5)
	require.Equal(t, []string{"0", "1", "2"}, consume(t, c, "a", 3)[:3])
	require.NoError(t, c.Close())
	require.NoError(t, first.Close())

	cfg.Topics = append(cfg.Topics, devkafka.Topic{Name: "b", Partitions: 2, Config: map[string]string{"retention.ms": "5"}})
	second := start(t, cfg)
	c = connect(t, second)
	publish(t, c, "a", 5, 8)
	require.Equal(t, "7", last(consume(t, c, "a", 3)))
	reports, err := c.CheckTopics(t.Context(), []kafka.TopicSpec{
		{Name: "a", Partitions: 1},
		{Name: "b", Partitions: 2, Config: map[string]string{"retention.ms": "5"}},
	})
	require.NoError(t, err)
	for _, r := range reports {
		require.Empty(t, r.Mismatches, r.Name)
	}
}

func last(values []string) string { return values[len(values)-1] }

func TestADirectoryHasOneBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, devkafka.Config{Dir: dir})
	_, err := devkafka.Start(devkafka.Config{Dir: dir}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "another broker uses "+dir)
	require.NoError(t, first.Close())
	start(t, devkafka.Config{Dir: dir})
}

func TestTheAdvertisedHostIsWhatClientsAreTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addr, advertise, want string }{
		{"", "", "127.0.0.1"},
		{"127.0.0.1:0", "localhost", "localhost"},
		{":0", "", "127.0.0.1"},
		{"0.0.0.0:0", "localhost", "localhost"},
	} {
		b := start(t, devkafka.Config{Addr: tt.addr, Advertise: tt.advertise, Topics: []devkafka.Topic{{Name: "t", Partitions: 1}}})
		host, port, err := net.SplitHostPort(b.Addrs()[0])
		require.NoError(t, err)
		require.Equal(t, tt.want, host)
		require.NotEqual(t, "0", port)
		publish(t, connect(t, b), "t", 0, 1) // follows the address in the metadata
	}
}

func TestAFixedPortIsUsed(t *testing.T) {
	t.Parallel()
	first := start(t, devkafka.Config{})
	addr := first.Addrs()[0]
	_, err := devkafka.Start(devkafka.Config{Addr: addr}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "address already in use")
	require.NoError(t, first.Close())
	require.Equal(t, addr, start(t, devkafka.Config{Addr: addr}).Addrs()[0])
}

func TestRetentionRuns(t *testing.T) {
	t.Parallel()
	b := start(t, devkafka.Config{
		Upkeep: 10 * time.Millisecond,
		Topics: []devkafka.Topic{{Name: "t", Partitions: 1, Config: map[string]string{"retention.ms": "1"}}},
	})
	publish(t, connect(t, b), "t", 0, 10)
	require.Eventually(t, func() bool { return b.Cluster().PartitionInfo("t", 0).LogStartOffset == 10 },
		10*time.Second, 10*time.Millisecond)
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]devkafka.Config{
		"missing port":                       {Addr: "localhost"},
		"invalid syntax":                     {Addr: "localhost:kafka"},
		"3 brokers cannot share the port 99": {Addr: "127.0.0.1:99", Nodes: 3},
	} {
		_, err := devkafka.Start(cfg, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, want)
	}
}
