package consumer_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/verify"
	"github.com/prefsd/prefsd/services/consumer"
)

const within = 30 * time.Second

// eventually waits for what happens in other goroutines and other processes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, within, 10*time.Millisecond, what)
}

func newBroker(t *testing.T) *devkafka.Broker {
	t.Helper()
	broker, err := devkafka.Start(devkafka.Config{Topics: []devkafka.Topic{
		{Name: accountEvents, Partitions: 3},
		{Name: userEvents, Partitions: 3},
		{Name: "preferences.events", Partitions: 3},
		{Name: "preferences.cleaned", Partitions: 3},
		{Name: deadLetters, Partitions: 1},
	}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	return broker
}

func newClient(t *testing.T, brokers []string) *kafka.Client {
	t.Helper()
	client, err := kafka.Open(kafka.Config{Brokers: brokers})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// running is a consumer that cmd/consumer could have started.
type running struct {
	url  string // of its health and metrics
	stop func() // and wait
}

func parse(t *testing.T, args ...string) consumer.Config {
	t.Helper()
	cfg, err := config.Parse[consumer.Config]("consumer", "", args, func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	return cfg
}

func launch(t *testing.T, database string, brokers []string, args ...string) *running {
	t.Helper()
	cfg := parse(t, append([]string{"--database-url=" + database, "--kafka-brokers=" + strings.Join(brokers, ",")}, args...)...)
	var sockets net.ListenConfig
	listener, err := sockets.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Listener = listener
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	r := &running{url: "http://" + listener.Addr().String()}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				require.NoError(t, err)
			case <-time.After(within):
				t.Error("the consumer does not stop")
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

// get returns the status and the body of an answer; 0 if there is none.
func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func (r *running) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, "ready", func() bool {
		status, _ := r.get(t, "/readyz")
		return status == http.StatusOK
	})
}

// publish puts records on the topic of accounts, in order, all of one key and
// so all in one partition.
func publish(t *testing.T, client *kafka.Client, values ...[]byte) {
	t.Helper()
	publisher := kafka.NewPublisher(client, kafka.PublisherConfig{})
	for i, v := range values {
		results := publisher.Publish(t.Context(), []outbox.Message{{
			ID: int64(i), EventID: uuid.New(), Topic: accountEvents, Key: []byte("one partition"), Value: v,
			Headers: []outbox.Header{{Name: "origin", Value: []byte("\x00\xff")}},
		}})
		require.NoError(t, results[0])
	}
}

// reader collects what arrives on topics.
type reader struct {
	mu   sync.Mutex
	seen []kafka.Record
}

func read(t *testing.T, client *kafka.Client, topics ...string) *reader {
	t.Helper()
	r := &reader{}
	group := kafka.NewGroup(kafka.GroupConfig{Client: client, Group: "reader-" + uuid.NewString(), Topics: topics}, func(_ context.Context, rec kafka.Record) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, rec)
		return nil
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- group.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return r
}

func (r *reader) of(topic string) []kafka.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []kafka.Record
	for _, rec := range r.seen {
		if rec.Topic == topic {
			out = append(out, rec)
		}
	}
	return out
}

func headersOf(r kafka.Record) map[string]string {
	out := map[string]string{}
	for _, h := range r.Headers {
		out[h.Name] = string(h.Value)
	}
	return out
}

// delivered holds what arrived against the outbox.
func (h *house) delivered(t *testing.T, out *reader) {
	t.Helper()
	var seen verify.Records
	for _, topic := range []string{"preferences.events", "preferences.cleaned"} {
		for _, r := range out.of(topic) {
			id, err := uuid.Parse(headersOf(r)["ce_id"])
			require.NoError(t, err)
			seen = append(seen, verify.Delivered{Topic: topic, Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), EventID: id, Value: r.Value, Time: r.Time})
		}
	}
	require.NoError(t, h.store.Snapshot(t.Context(), func(src verify.Source) error {
		report, err := verify.Delivery(t.Context(), src, seen, verify.AtOnce)
		require.Empty(t, report.Findings)
		return err
	}))
}
