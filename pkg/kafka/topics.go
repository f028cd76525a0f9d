package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// How old the administration's view of the cluster may be.
const adminTTL = 100 * time.Millisecond

// TopicSpec is a topic as the product wants it.
type TopicSpec struct {
	Name              string
	Partitions        int               // 0 means the broker's default
	ReplicationFactor int               // 0 means the broker's default
	Config            map[string]string // such as retention.ms; what is absent is the broker's default
}

// TopicReport says how a topic differs from its specification.
type TopicReport struct {
	Name              string
	Missing           bool
	Created           bool // by this call
	Partitions        int
	ReplicationFactor int
	Mismatches        []string // for an operator to read; empty when all is well

	Settings map[string]string // as they are, of those that the specification has
}

// EnsureTopics creates the topics that are missing. It never changes one that
// exists: more partitions would move keys, and other settings are an
// operator's decision. What differs is reported.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) ([]TopicReport, error) {
	a := c.admin(specs)
	defer a.close()
	reports, err := a.check(ctx, specs)
	if err != nil {
		return nil, err
	}
	var missing []TopicSpec
	for i, r := range reports {
		if r.Missing {
			missing = append(missing, specs[i])
		}
	}
	if len(missing) == 0 {
		return reports, nil
	}
	created, err := a.create(ctx, missing)
	if err != nil {
		return nil, err
	}
	if reports, err = a.awaitAll(ctx, specs); err != nil {
		return nil, err
	}
	for i := range reports {
		reports[i].Created = created[reports[i].Name]
	}
	return reports, nil
}

// CheckTopics reports how the topics differ from their specifications, in the
// same order.
func (c *Client) CheckTopics(ctx context.Context, specs []TopicSpec) ([]TopicReport, error) {
	a := c.admin(specs)
	defer a.close()
	return a.check(ctx, specs)
}

// admin looks at topics with connections of its own: the shared ones know only
// the topics that are published to and consumed, and that with a delay.
type admin struct {
	api   *kafkago.Client
	close func()
}

func (c *Client) admin(specs []TopicSpec) admin {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	conns := newNetwork(c.cfg.DialTimeout)
	transport := c.newTransport(conns, names)
	transport.MetadataTTL = adminTTL
	return admin{
		api: &kafkago.Client{Addr: c.addr, Timeout: requestTimeout, Transport: transport},
		close: func() {
			transport.CloseIdleConnections()
			conns.close()
		},
	}
}

// awaitAll checks until every topic exists: the brokers learn of a new topic
// some time after the controller has made it.
func (a admin) awaitAll(ctx context.Context, specs []TopicSpec) ([]TopicReport, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		reports, err := a.check(ctx, specs)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(reports, func(r TopicReport) bool { return r.Missing }) {
			return reports, nil
		}
		if !sleep(ctx, adminTTL/2) {
			return nil, fmt.Errorf("wait for new topics: %w", ctx.Err())
		}
	}
}

// create returns which topics this call created. Another process may create
// the same ones at the same time.
func (a admin) create(ctx context.Context, specs []TopicSpec) (map[string]bool, error) {
	req := &kafkago.CreateTopicsRequest{}
	for _, s := range specs {
		t := kafkago.TopicConfig{
			Topic:             s.Name,
			NumPartitions:     cmp.Or(s.Partitions, -1),
			ReplicationFactor: cmp.Or(s.ReplicationFactor, -1),
		}
		for _, name := range slices.Sorted(maps.Keys(s.Config)) {
			t.ConfigEntries = append(t.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: s.Config[name]})
		}
		req.Topics = append(req.Topics, t)
	}
	res, err := a.api.CreateTopics(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	created := map[string]bool{}
	for name, err := range res.Errors {
		switch {
		case err == nil:
			created[name] = true
		case !errors.Is(err, kafkago.TopicAlreadyExists):
			return nil, fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return created, nil
}

func (a admin) check(ctx context.Context, specs []TopicSpec) ([]TopicReport, error) {
	reports := make([]TopicReport, len(specs))
	topics, err := a.topics(ctx, specs)
	if err != nil {
		return nil, err
	}
	settings, err := a.settings(ctx, specs, topics)
	if err != nil {
		return nil, err
	}
	for i, s := range specs {
		t, exists := topics[s.Name]
		if !exists {
			reports[i] = TopicReport{Name: s.Name, Missing: true, Mismatches: []string{"does not exist"}}
			continue
		}
		reports[i] = compare(s, t, settings[s.Name])
	}
	return reports, nil
}

func (a admin) topics(ctx context.Context, specs []TopicSpec) (map[string]kafkago.Topic, error) {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	m, err := a.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	topics := map[string]kafkago.Topic{}
	for _, t := range m.Topics {
		switch {
		case t.Error == nil:
			topics[t.Name] = t
		case !errors.Is(t.Error, kafkago.UnknownTopicOrPartition):
			return nil, fmt.Errorf("look up topic %s: %w", t.Name, t.Error)
		}
	}
	return topics, nil
}

// settings returns the settings of those topics whose specification has any.
func (a admin) settings(ctx context.Context, specs []TopicSpec, topics map[string]kafkago.Topic) (map[string]map[string]string, error) {
	req := &kafkago.DescribeConfigsRequest{}
	for _, s := range specs {
		if _, exists := topics[s.Name]; exists && len(s.Config) > 0 {
			req.Resources = append(req.Resources, kafkago.DescribeConfigRequestResource{
				ResourceType: kafkago.ResourceTypeTopic,
				ResourceName: s.Name,
				ConfigNames:  slices.Sorted(maps.Keys(s.Config)),
			})
		}
	}
	settings := map[string]map[string]string{}
	if len(req.Resources) == 0 {
		return settings, nil
	}
	res, err := a.api.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("read topic settings: %w", err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, r.Error)
		}
		settings[r.ResourceName] = map[string]string{}
		for _, e := range r.ConfigEntries {
			settings[r.ResourceName][e.ConfigName] = e.ConfigValue
		}
	}
	return settings, nil
}

func compare(want TopicSpec, have kafkago.Topic, settings map[string]string) TopicReport {
	r := TopicReport{Name: want.Name, Partitions: len(have.Partitions), Settings: settings} // nil if none were asked for
	if len(have.Partitions) > 0 {
		r.ReplicationFactor = len(have.Partitions[0].Replicas)
	}
	if want.Partitions > 0 && want.Partitions != r.Partitions {
		r.Mismatches = append(r.Mismatches, fmt.Sprintf("has %d partitions instead of %d", r.Partitions, want.Partitions))
	}
	if want.ReplicationFactor > 0 && want.ReplicationFactor != r.ReplicationFactor {
		r.Mismatches = append(r.Mismatches,
			fmt.Sprintf("has %d replicas instead of %d", r.ReplicationFactor, want.ReplicationFactor))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Config)) {
		if settings[name] != want.Config[name] {
			r.Mismatches = append(r.Mismatches,
				fmt.Sprintf("has %s=%s instead of %s", name, settings[name], want.Config[name]))
		}
	}
	return r
}
