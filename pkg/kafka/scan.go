package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
)

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
