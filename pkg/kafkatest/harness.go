package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// patience is how long a story waits for something that should happen soon.
const patience = 45 * time.Second

// Topic creates a topic with a name of its own and waits until it can be used.
func Topic(tb testing.TB, b Broker, partitions int) string {
	tb.Helper()
	name := Name("topic")
	create(tb, b, kafka.TopicSpec{Name: name, Partitions: partitions})
	return name
}

// Name returns a name that no other test has.
func Name(prefix string) string { return prefix + "-" + uuid.NewString()[:13] }

func create(tb testing.TB, b Broker, spec kafka.TopicSpec) {
	tb.Helper()
	c, err := kafka.Open(kafka.Config{Brokers: b.Addrs()})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, c.Close()) }()
	// A busy machine can keep a broker from its controller for longer than its session lasts.
	var reports []kafka.TopicReport
	require.Eventually(tb, func() bool {
		reports, err = c.EnsureTopics(tb.Context(), []kafka.TopicSpec{spec})
		return err == nil
	}, patience, 100*time.Millisecond, "create %s", spec.Name)
	require.Empty(tb, reports[0].Mismatches)
}

// Client opens a client that ends with the test.
func Client(tb testing.TB, b Broker, topics ...string) *kafka.Client {
	tb.Helper()
	c, err := kafka.Open(kafka.Config{
		Brokers:        b.Addrs(),
		ClientID:       "kafkatest",
		MetadataTTL:    250 * time.Millisecond,
		MetadataTopics: topics,
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, c.Close()) })
	return c
}

// messages returns count messages over some keys. The value of each is its
// key's running number, so that order can be checked wherever it arrives.
func messages(topic string, keys, count, from int) []outbox.Message {
	msgs := make([]outbox.Message, count)
	for i := range msgs {
		n := from + i
		key := fmt.Sprintf("key-%d", n%keys)
		msgs[i] = outbox.Message{
			ID:      int64(n),
			EventID: uuid.New(),
			Topic:   topic,
			Key:     []byte(key),
			Value:   []byte(fmt.Sprintf("%s:%d", key, n/keys)),
		}
	}
	return msgs
}

// publishAll publishes until everything is acknowledged, as the relay does.
func publishAll(tb testing.TB, p outbox.Publisher, msgs []outbox.Message) {
	tb.Helper()
	require.NoError(tb, publish(tb.Context(), p, msgs))
}

func publish(ctx context.Context, p outbox.Publisher, msgs []outbox.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(msgs) > 0 {
		var rest []outbox.Message
		var last error
		for i, err := range p.Publish(ctx, msgs) {
			if err != nil {
				rest, last = append(rest, msgs[i]), err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d messages are not published in time: %w", len(rest), last)
		}
		msgs = rest
	}
	return nil
}

// dump reads a whole topic with another client library. The records of each
// partition are in the order of the log.
func dump(tb testing.TB, b Broker, topic string) map[int32][]*kgo.Record {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.MetadataMinAge(50*time.Millisecond))
	require.NoError(tb, err)
	defer cl.Close()
	ends := bounds(ctx, tb, cl, topic)
	records := map[int32][]*kgo.Record{}
	missing := maps.Clone(ends)
	maps.DeleteFunc(missing, func(_ int32, end int64) bool { return end == 0 })
	for len(missing) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(tb, ctx.Err(), "log ends are not reached: %v", missing)
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(missing, r.Partition)
			}
		})
	}
	return records
}

// bounds returns where the partitions of a topic end.
func bounds(ctx context.Context, tb testing.TB, cl *kgo.Client, topic string) map[int32]int64 {
	tb.Helper()
	offsets := map[int32]int64{}
	for _, p := range partitionsOf(ctx, tb, cl, topic) {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		pr := kmsg.NewListOffsetsRequestTopicPartition()
		pr.Partition, pr.Timestamp = p, -1
		t.Partitions = append(t.Partitions, pr)
		req.Topics = append(req.Topics, t)
		res, err := req.RequestWith(ctx, cl)
		require.NoError(tb, err)
		require.Zero(tb, res.Topics[0].Partitions[0].ErrorCode)
		offsets[p] = res.Topics[0].Partitions[0].Offset
	}
	return offsets
}

func partitionsOf(ctx context.Context, tb testing.TB, cl *kgo.Client, topic string) []int32 {
	tb.Helper()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(ctx, cl)
	require.NoError(tb, err)
	var ids []int32
	for _, p := range res.Topics[0].Partitions {
		ids = append(ids, p.Partition)
	}
	return ids
}

// values returns the values per partition.
func values(records map[int32][]*kgo.Record) map[int32][]string {
	out := map[int32][]string{}
	for p, rs := range records {
		for _, r := range rs {
			out[p] = append(out[p], string(r.Value))
		}
	}
	return out
}

// ledger is what the members of a group saw, in the order in which they were
// done. It notices when two of them work on one partition at a time.
type ledger struct {
	mu       sync.Mutex
	seen     map[string][]int // by key: running numbers
	at       map[string]int64 // by partition: last offset
	holders  map[string]int   // by partition: members inside the handler
	problems []string
	total    int
	changed  chan struct{} // closed and replaced at every record
}

func newLedger() *ledger {
	return &ledger{
		seen: map[string][]int{}, at: map[string]int64{}, holders: map[string]int{}, changed: make(chan struct{}),
	}
}

// handle is a kafka.Handler for what messages made.
func (l *ledger) handle(_ context.Context, r kafka.Record) error {
	l.enter(r)
	l.leave(r)
	return nil
}

func partitionName(r kafka.Record) string { return fmt.Sprintf("%s/%d", r.Topic, r.Partition) }

func (l *ledger) enter(r kafka.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := partitionName(r)
	if l.holders[p]++; l.holders[p] > 1 {
		l.problems = append(l.problems, "two members at a time work on "+p)
	}
}

func (l *ledger) leave(r kafka.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders[partitionName(r)]--
	key, number, _ := strings.Cut(string(r.Value), ":")
	n, err := strconv.Atoi(number)
	if err != nil || key != string(r.Key) {
		l.problems = append(l.problems, fmt.Sprintf("foreign record %q of %q", r.Value, r.Key))
	}
	l.seen[key] = append(l.seen[key], n)
	l.at[partitionName(r)] = r.Offset
	l.total++
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits until ok holds, which is looked at after every record.
func (l *ledger) await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		done, changed := ok(), l.changed
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			l.mu.Lock()
			defer l.mu.Unlock()
			require.Fail(tb, "waited in vain", "for %s; %d records so far, %v", what, l.total, l.problems)
		}
	}
}

// awaitAll waits until count messages over keys were seen, each at least once.
func (l *ledger) awaitAll(tb testing.TB, keys, count int) {
	tb.Helper()
	l.await(tb, fmt.Sprintf("%d records", count), func() bool {
		if l.total < count {
			return false
		}
		distinct := 0
		for _, numbers := range l.seen {
			distinct += len(slices.Compact(slices.Sorted(slices.Values(numbers))))
		}
		return distinct >= count
	})
	_ = keys
}

// check requires that nothing is missing, that first deliveries are in order,
// and that whatever came twice is a repetition of something recent.
func (l *ledger) check(tb testing.TB, keys, count int) (repeated int) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(tb, l.problems)
	for k := range keys {
		next := 0
		for _, n := range l.seen[fmt.Sprintf("key-%d", k)] {
			require.LessOrEqual(tb, n, next, "key-%d skips from %d to %d", k, next, n)
			if n == next {
				next++
			} else {
				repeated++
			}
		}
		require.Equal(tb, (count-k+keys-1)/keys, next, "key-%d ends too early", k)
	}
	return repeated
}

// member runs one member of a group until stop is called or the test ends.
type member struct {
	group *kafka.Group
	stop  func() // graceful, returns when the member has left
}

// join starts a member with times that suit a test.
func join(tb testing.TB, cfg kafka.GroupConfig, h kafka.Handler) member {
	tb.Helper()
	cfg.Heartbeat = 200 * time.Millisecond
	cfg.SessionTimeout = 6 * time.Second
	cfg.RebalanceTimeout = 10 * time.Second
	cfg.CommitInterval = 20 * time.Millisecond
	cfg.WatchInterval = 300 * time.Millisecond
	cfg.RetryMin, cfg.RetryMax = 10*time.Millisecond, 100*time.Millisecond
	if cfg.HandlerTimeout == 0 {
		cfg.HandlerTimeout, cfg.RevokeGrace = 2*time.Second, 4*time.Second
	}
	g := kafka.NewGroup(cfg, h, Logger(tb))
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(tb, <-done)
	})
	tb.Cleanup(stop)
	return member{group: g, stop: stop}
}
