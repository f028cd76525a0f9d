package ctl

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// consumption says what the consumers of a deployment read, and as whom.
type consumption struct {
	Topics      config.Topics `embed:""`
	DomainsFile string        `name:"domains-file" type:"path" help:"JSON file with the domains, as the services have it; empty means the built-in ones."`
	Group       string        `name:"kafka-group" default:"prefsd" help:"Consumer group of the consumers."`
}

// consumed are the topics that consumers read.
func (c consumption) consumed() ([]string, error) {
	topics := []string{c.Topics.AccountEvents}
	if c.DomainsFile != "" {
		d, err := config.ParseFile("--domains-file", c.DomainsFile, preferences.ParseDomains)
		if err != nil {
			return nil, err
		}
		topics = d.Topics()
	}
	if c.Topics.UserEvents != "" {
		topics = append(topics, c.Topics.UserEvents)
	}
	return topics, nil
}

// behind returns the partitions in which records from before then still wait for
// a consumer.
func (c consumption) behind(ctx context.Context, client *kafka.Client, then time.Time) ([]verify.Behind, error) {
	names, err := c.consumed()
	if err != nil {
		return nil, err
	}
	var behind []verify.Behind
	for _, topic := range names {
		committed, err := client.Committed(ctx, c.Group, topic)
		if errors.Is(err, kafka.ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, err
		}
		since, err := client.Since(ctx, topic, then)
		if err != nil {
			return nil, err
		}
		first, _, err := client.Bounds(ctx, topic)
		if err != nil {
			return nil, err
		}
		for _, p := range slices.Sorted(maps.Keys(since)) {
			if left := since[p] - max(committed[p], first[p]); left > 0 {
				behind = append(behind, verify.Behind{Group: c.Group, Topic: topic, Partition: p, Records: left})
			}
		}
	}
	return behind, nil
}
