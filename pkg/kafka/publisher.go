package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/outbox"
)

const (
	defaultBatchBytes     = 900_000
	defaultBatchRecords   = 1000
	defaultProduceTimeout = 10 * time.Second
	defaultRetryFor       = 2 * time.Second
)

var _ outbox.Publisher = (*Publisher)(nil)

// PublisherConfig tunes a Publisher. The zero value means the defaults.
type PublisherConfig struct {
	BatchBytes     int           // of one produce request, before compression; default 900,000
	BatchRecords   int           // of one produce request; default 1000
	ProduceTimeout time.Duration // of one attempt; default 10 s
	RetryFor       time.Duration // how long one call tries again; default 2 s
}

// Publisher is an idempotent producer: acks=all, one produce request in flight
// per partition, and a batch without an answer is sent again byte by byte, so
// that the broker recognises it. It stays so across calls: a message that was
// unreachable is still recognised when the next call brings it again. It is
// safe for concurrent use.
type Publisher struct {
	client *Client
	cfg    PublisherConfig
	api    *kafkago.Client

	mu    sync.Mutex
	lanes map[topicPartition]*lane
}

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int
}

// String returns topic/partition.
func (tp topicPartition) String() string { return tp.topic + "/" + strconv.Itoa(tp.partition) }

// slot is one message of a call and the place of its result.
type slot struct {
	msg    *outbox.Message
	result *error
}

// NewPublisher returns a publisher on the client.
func NewPublisher(client *Client, cfg PublisherConfig) *Publisher {
	cfg.BatchBytes = cmp.Or(cfg.BatchBytes, defaultBatchBytes)
	cfg.BatchRecords = cmp.Or(cfg.BatchRecords, defaultBatchRecords)
	cfg.ProduceTimeout = cmp.Or(cfg.ProduceTimeout, defaultProduceTimeout)
	cfg.RetryFor = cmp.Or(cfg.RetryFor, defaultRetryFor)
	return &Publisher{
		client: client,
		cfg:    cfg,
		api:    client.requests(cfg.ProduceTimeout),
		lanes:  map[topicPartition]*lane{},
	}
}

// Publish implements outbox.Publisher. Partitions are served in parallel.
func (p *Publisher) Publish(ctx context.Context, msgs []outbox.Message) []error {
	results := make([]error, len(msgs))
	crashpoint.Hit("events.publishing")
	var wg sync.WaitGroup
	for at, slots := range p.route(ctx, msgs, results) {
		lane := p.lane(at)
		wg.Go(func() { lane.publish(ctx, slots) })
	}
	wg.Wait()
	crashpoint.Hit("events.published")
	return results
}

// Route implements outbox.Publisher: the Java client's choice for each key over
// the topic's partition count.
func (p *Publisher) Route(ctx context.Context, msgs []outbox.Message) []string {
	names := make([]string, len(msgs))
	counts, err := p.client.partitions(ctx, topicsOf(msgs)...)
	if err != nil {
		return names
	}
	for i := range msgs {
		if n, known := counts[msgs[i].Topic]; known {
			names[i] = placeOf(&msgs[i], n).String()
		}
	}
	return names
}

// route groups messages by partition, in order. Those without one get their
// result at once.
func (p *Publisher) route(ctx context.Context, msgs []outbox.Message, results []error) map[topicPartition][]slot {
	if len(msgs) == 0 {
		return nil
	}
	counts, err := p.client.partitions(ctx, topicsOf(msgs)...)
	work := map[topicPartition][]slot{}
	for i := range msgs {
		m := &msgs[i]
		n, known := counts[m.Topic]
		switch {
		case err != nil:
			results[i] = fmt.Errorf("look up topic %s: %w: %w", m.Topic, outbox.ErrUnreachable, advised(err))
		case !known:
			results[i] = fmt.Errorf("look up topic %s: %w: the cluster does not know it", m.Topic, outbox.ErrUnreachable)
		default:
			at := placeOf(m, n)
			work[at] = append(work[at], slot{msg: m, result: &results[i]})
		}
	}
	return work
}

// topicsOf returns the topics of messages, without repetition.
func topicsOf(msgs []outbox.Message) []string {
	var topics []string
	for i := range msgs {
		if t := msgs[i].Topic; !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	return topics
}

// placeOf returns a message's partition. One without a key is placed by its
// identity: evenly, and in the same partition when it is sent again.
func placeOf(m *outbox.Message, partitions int) topicPartition {
	key := m.Key
	if key == nil {
		key = binary.BigEndian.AppendUint64(m.EventID[:], uint64(m.ID)) //nolint:gosec // any bits will do
	}
	return topicPartition{m.Topic, partitionOf(key, partitions)}
}

func (p *Publisher) lane(at topicPartition) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[at]
	if l == nil {
		l = newLane(p, at)
		p.lanes[at] = l
	}
	return l
}
