package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Offsets are places in the partitions of a topic.
type Offsets map[int]int64

// ErrNoTopic says that the brokers do not know a topic.
var ErrNoTopic = errors.New("the brokers do not know the topic")

// Bounds returns where the log of each partition of a topic begins and ends now.
func (c *Client) Bounds(ctx context.Context, topic string) (first, end Offsets, err error) {
	first, end = Offsets{}, Offsets{}
	err = c.eachPartition(ctx, topic, func(at topicPartition) (err error) {
		first[at.partition], end[at.partition], err = c.bounds(ctx, at)
		return err
	})
	return first, end, err
}

// Since returns, of each partition of a topic, the first record that is no older
// than that; where there is none, the end of the log.
func (c *Client) Since(ctx context.Context, topic string, then time.Time) (Offsets, error) {
	since := Offsets{}
	err := c.eachPartition(ctx, topic, func(at topicPartition) error {
		_, end, err := c.bounds(ctx, at) // first: what comes meanwhile is younger
		if err != nil {
			return err
		}
		p, err := c.listOffsets(ctx, at, kafkago.ReadUncommitted, kafkago.TimeOffsetOf(at.partition, then))
		since[at.partition] = end
		for offset := range p.Offsets {
			if offset >= 0 {
				since[at.partition] = offset
			}
		}
		return err
	})
	return since, err
}

// Committed returns how far a group has come in a topic. Partitions in which it
// has not committed anything are absent.
func (c *Client) Committed(ctx context.Context, group, topic string) (Offsets, error) {
	committed, ask := Offsets{}, []int{}
	err := c.eachPartition(ctx, topic, func(at topicPartition) error {
		ask = append(ask, at.partition)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = askCoordinator(ctx, func(ctx context.Context) error {
		r, err := c.requests(requestTimeout).OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ask}})
		if err = cmp.Or(err, errorOf(r)); err != nil {
			return err
		}
		for _, p := range r.Topics[topic] {
			if p.Error != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, p.Error)
			}
			if p.CommittedOffset >= 0 {
				committed[p.Partition] = p.CommittedOffset
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, kafkago.GroupIdNotFound):
		return committed, nil // which some brokers say instead of nothing
	case err != nil:
		return nil, fmt.Errorf("ask how far group %s is in %s: %w", group, topic, err)
	}
	return committed, nil
}

// Members returns how many consumers a group has now, and in which state it is.
func (c *Client) Members(ctx context.Context, group string) (n int, state string, err error) {
	n, state = 0, "unknown to the brokers"
	err = askCoordinator(ctx, func(ctx context.Context) error {
		r, err := c.requests(requestTimeout).DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		for _, g := range r.Groups {
			switch {
			case g.GroupID != group || errors.Is(g.Error, kafkago.GroupIdNotFound):
			case g.Error != nil:
				return g.Error
			default:
				n, state = len(g.Members), g.GroupState
			}
		}
		return nil
	})
	if err != nil {
		return 0, "", fmt.Errorf("ask about group %s: %w", group, err)
	}
	return n, state, nil
}

// askCoordinator asks about a group until its coordinator answers. A cluster
// that is new has none for a moment, and one that moves is absent or not ready.
// The library looks for it before every request, but overlooks that it was not
// found: the request then goes to any broker, which says that it is not the one.
func askCoordinator(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for retry := 0; ; retry++ {
		err := ask(ctx)
		if judge(err) != unanswered || !fetchBackoff.wait(ctx, retry) {
			return err
		}
	}
}

func errorOf(r *kafkago.OffsetFetchResponse) error {
	if r == nil {
		return nil
	}
	return r.Error
}

// eachPartition asks about every partition of a topic, again where its leader
// moves.
func (c *Client) eachPartition(ctx context.Context, topic string, ask func(topicPartition) error) error {
	counts, err := c.partitions(ctx, topic)
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", topic, err)
	}
	n, known := counts[topic]
	if !known {
		return fmt.Errorf("look up topic %s: %w", topic, ErrNoTopic)
	}
	for p := range n {
		for retry := 1; ; retry++ {
			err = ask(topicPartition{topic, p})
			if err == nil || retry > scanRetries || !fetchBackoff.wait(ctx, retry) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("look up %s/%d: %w", topic, p, err)
		}
	}
	return nil
}

// bounds asks where the log of a partition begins and ends.
func (c *Client) bounds(ctx context.Context, at topicPartition) (first, last int64, err error) {
	p, err := c.listOffsets(ctx, at, kafkago.ReadUncommitted, kafkago.FirstOffsetOf(at.partition), kafkago.LastOffsetOf(at.partition))
	return p.FirstOffset, p.LastOffset, err
}

// visible asks up to where the log of a partition may be read.
func (c *Client) visible(ctx context.Context, at topicPartition) (end int64, err error) {
	p, err := c.listOffsets(ctx, at, kafkago.ReadCommitted, kafkago.LastOffsetOf(at.partition))
	return p.LastOffset, err
}

func (c *Client) listOffsets(ctx context.Context, at topicPartition, level kafkago.IsolationLevel, ask ...kafkago.OffsetRequest) (kafkago.PartitionOffsets, error) {
	r, err := c.requests(requestTimeout).ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{at.topic: ask}, IsolationLevel: level,
	})
	if err != nil {
		return kafkago.PartitionOffsets{}, errors.Join(errNoBounds, err)
	}
	for _, p := range r.Topics[at.topic] {
		if p.Partition != at.partition {
			continue
		}
		if p.Error != nil {
			return p, errors.Join(errNoBounds, p.Error)
		}
		return p, nil
	}
	return kafkago.PartitionOffsets{}, errNoBounds
}

var errNoBounds = errors.New("the broker does not say where the log begins and ends")
