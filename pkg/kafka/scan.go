package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
)

// Offsets are places in the partitions of a topic.
type Offsets map[int]int64

// ErrNoTopic says that the brokers do not know a topic.
var ErrNoTopic = errors.New("the brokers do not know the topic")

// Bounds returns where the log of each partition of a topic begins and ends now.
func (c *Client) Bounds(ctx context.Context, topic string) (first, end Offsets, err error) {
	counts, err := c.partitions(ctx, topic)
	if err != nil {
		return nil, nil, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	n, known := counts[topic]
	if !known {
		return nil, nil, fmt.Errorf("look up topic %s: %w", topic, ErrNoTopic)
	}
	first, end = Offsets{}, Offsets{}
	for p := range n {
		for retry := 1; ; retry++ { // leaders move
			first[p], end[p], err = c.bounds(ctx, topicPartition{topic, p})
			if err == nil || retry > scanRetries || !fetchBackoff.wait(ctx, retry) {
				break
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("look up %s/%d: %w", topic, p, err)
		}
	}
	return first, end, nil
}

// Scan calls fn with the records of a topic up to where it ends when the scan
// begins, partition by partition, each in the order of its log. It begins at the
// offsets in from; where a partition has none there, or one that the log no
// longer reaches, at the beginning of the log. It joins no group and commits
// nothing.
func (c *Client) Scan(ctx context.Context, topic string, from Offsets, fn func(Record) error) error {
	first, end, err := c.Bounds(ctx, topic)
	if err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(end)) {
		if err := c.scan(ctx, topicPartition{topic, p}, max(first[p], from[p]), end[p], fn); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) scan(ctx context.Context, at topicPartition, next, end int64, fn func(Record) error) error {
	for retry := 0; next < end; {
		got, err := c.fetch(ctx, at, next)
		if err == nil && got.next <= next && got.visible >= 0 && got.visible <= next {
			return nil // what follows belongs to a transaction that is open
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("read %s: %w", at, ctx.Err())
		case err == nil:
			retry = 0
		case retry == scanRetries || errors.Is(err, kafkago.OffsetOutOfRange):
			return fmt.Errorf("read %s at offset %d: %w", at, next, err)
		default:
			retry++
			fetchBackoff.wait(ctx, retry)
			continue
		}
		for _, r := range got.records {
			if r.Offset >= end {
				return nil
			}
			if err := fn(r); err != nil {
				return err
			}
		}
		next = got.next
	}
	return nil
}

// scanRetries is how often a scan asks again for what a broker could not give.
const scanRetries = 5

// bounds asks where the log of a partition begins and ends.
func (c *Client) bounds(ctx context.Context, at topicPartition) (first, last int64, err error) {
	r, err := c.requests(requestTimeout).ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{
			at.topic: {kafkago.FirstOffsetOf(at.partition), kafkago.LastOffsetOf(at.partition)},
		},
	})
	if err != nil {
		return 0, 0, errors.Join(errNoBounds, err)
	}
	for _, p := range r.Topics[at.topic] {
		if p.Partition != at.partition {
			continue
		}
		if p.Error != nil {
			return 0, 0, errors.Join(errNoBounds, p.Error)
		}
		return p.FirstOffset, p.LastOffset, nil
	}
	return 0, 0, errNoBounds
}

var errNoBounds = errors.New("the broker does not say where the log begins and ends")
