package postgres_test

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
)

// broker is a publisher that keeps what it is given. A partition takes one
// delivery at a time, as a real one does.
type broker struct {
	mu      sync.Mutex
	log     []outbox.Message
	changed chan struct{} // closed and replaced when something arrives
	answer  func(outbox.Message) error

	partitions [4]sync.Mutex
}

func newBroker() *broker { return &broker{changed: make(chan struct{})} }

func (b *broker) partition(m outbox.Message) int {
	h := fnv.New32a()
	_, _ = h.Write(m.Key)
	return int(h.Sum32() % uint32(len(b.partitions)))
}

func (b *broker) Route(_ context.Context, msgs []outbox.Message) []string {
	names := make([]string, len(msgs))
	for i, m := range msgs {
		names[i] = m.Topic + "/" + strconv.Itoa(b.partition(m))
	}
	return names
}

func (b *broker) Publish(ctx context.Context, msgs []outbox.Message) []error {
	errs := make([]error, len(msgs))
	failed := map[int]bool{}
	for i, m := range msgs {
		p := b.partition(m)
		if failed[p] {
			errs[i] = outbox.ErrNotSent
			continue
		}
		b.partitions[p].Lock()
		errs[i] = b.take(ctx, m)
		b.partitions[p].Unlock()
		failed[p] = errs[i] != nil
	}
	return errs
}

func (b *broker) take(ctx context.Context, m outbox.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return errors.Join(outbox.ErrUnreachable, ctx.Err())
	}
	if b.answer != nil {
		if err := b.answer(m); err != nil {
			return err
		}
	}
	b.log = append(b.log, m)
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// answers replaces what the broker says to a message; nil takes all.
func (b *broker) answers(fn func(outbox.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = fn
}

// messages is everything that arrived, in order.
func (b *broker) messages() []outbox.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]outbox.Message{}, b.log...)
}

// waits until what arrived satisfies done.
func (b *broker) wait(t *testing.T, done func([]outbox.Message) bool) []outbox.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		b.mu.Lock()
		log, changed := append([]outbox.Message{}, b.log...), b.changed
		b.mu.Unlock()
		if done(log) {
			return log
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(t, "the broker never got what was expected", "it has %d messages", len(log))
		}
	}
}

// soon waits a moment for an event. It need not come.
func (b *broker) soon(id uuid.UUID) {
	enough := time.After(300 * time.Millisecond)
	for {
		b.mu.Lock()
		arrived, changed := slices.ContainsFunc(b.log, func(m outbox.Message) bool { return m.EventID == id }), b.changed
		b.mu.Unlock()
		if arrived {
			return
		}
		select {
		case <-changed:
		case <-enough:
			return
		}
	}
}

func (b *broker) waitFor(t *testing.T, n int) []outbox.Message {
	t.Helper()
	return b.wait(t, func(log []outbox.Message) bool { return len(log) >= n })
}

// running is a relay in the background.
type running struct {
	*outbox.Relay
	stop func() // gracefully; returns once it has stopped
}

// quick are settings for tests: what takes seconds takes a fraction of one.
func quick() outbox.Config {
	return outbox.Config{
		EventSource: "/prefsd/test", Lease: 2 * time.Second, SaveEvery: 20 * time.Millisecond, RenewEvery: 50 * time.Millisecond,
		Poll: 50 * time.Millisecond, TendEvery: 50 * time.Millisecond,
	}
}

func source(t *testing.T, url string) *postgres.OutboxSource {
	t.Helper()
	s, err := postgres.NewOutboxSource(url, "main")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func relay(t *testing.T, src outbox.Source, pub outbox.Publisher, cfg outbox.Config) *running {
	t.Helper()
	r, err := outbox.New(src, pub, cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	return &running{r, stop}
}

// until polls a condition that nothing signals.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 30*time.Second, 5*time.Millisecond, what)
}

// put writes an event of a subject into the outbox.
func put(t *testing.T, conn *pgx.Conn, subject string, seq int, value []byte) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := conn.Exec(t.Context(), insertEvent, id, subject, seq, value)
	require.NoError(t, err)
	return id
}

const insertEvent = `insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, payload, headers)
values ($1, 'list', $2, $3, 'preferences.updated', 'preferences.events', $4, '[["ce_time", "bm93"]]')`

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func scalar[T any](t *testing.T, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, conn.QueryRow(t.Context(), query, args...).Scan(&v))
	return v
}
