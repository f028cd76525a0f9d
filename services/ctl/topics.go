package ctl

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/kafka"
)

// Shape of topics that are created without further wishes.
const (
	DefaultPartitions = 6
	DefaultRetention  = 14 * 24 * time.Hour
)

type topicsCommands struct {
	Create topicsCreate `cmd:"" help:"Create the topics that are missing; those that exist are left alone."`
	Check  topicsCheck  `cmd:"" help:"Compare the topics with what is expected; exit code 3 if they differ."`
	Tail   topicsTail   `cmd:"" help:"Print the records of a topic from its beginning, and go on as they come."`
}

type cluster struct {
	Kafka config.Kafka `embed:""`
}

// with runs fn on a client.
func (c cluster) with(fn func(client *kafka.Client) error) (err error) {
	client, err := kafka.Open(kafka.FromConfig(c.Kafka, "prefsctl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return fn(client)
}

// TopicSpecs returns the topics of a deployment in one shape; zeros leave it to
// the broker.
func TopicSpecs(t config.Topics, partitions, replicas int, retention time.Duration) []kafka.TopicSpec {
	var settings map[string]string
	if retention > 0 {
		settings = map[string]string{"retention.ms": strconv.FormatInt(retention.Milliseconds(), 10)}
	}
	var specs []kafka.TopicSpec
	for _, name := range []string{t.AccountEvents, t.UserEvents, t.PreferencesEvents, t.PreferencesCleaned, t.DeadLetters} {
		if name == "" {
			continue // nobody announces users
		}
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: replicas, Config: settings})
	}
	return specs
}

type topicsCreate struct {
	cluster
	Topics     config.Topics `embed:""`
	Partitions int           `name:"partitions" env:"-" default:"6" help:"Partitions of a new topic: how many consumers can share it. It cannot be changed later without moving keys."`
	Replicas   int           `name:"replication-factor" env:"-" default:"0" help:"Copies of a new topic; 0 is the broker's default."`
	Retention  time.Duration `name:"retention" env:"-" default:"336h" help:"How long a new topic keeps records; 0 is the broker's default."`
}

// Run creates what is missing.
func (c *topicsCreate) Run(ctx context.Context, out *output) error {
	return c.with(func(client *kafka.Client) error {
		reports, err := client.EnsureTopics(ctx, TopicSpecs(c.Topics, c.Partitions, c.Replicas, c.Retention))
		if err != nil {
			return err
		}
		for i := range reports {
			reports[i].Mismatches = nil // what exists is the operator's business: check compares
		}
		return showTopics(out, reports)
	})
}

type topicsCheck struct {
	cluster
	Topics     config.Topics `embed:""`
	Partitions int           `name:"partitions" env:"-" default:"0" help:"Partitions to expect; 0 is any number."`
	Replicas   int           `name:"replication-factor" env:"-" default:"0" help:"Copies to expect; 0 is any number."`
	Retention  time.Duration `name:"retention" env:"-" default:"0" help:"Retention to expect; 0 is any."`
}

// Run compares and changes nothing.
func (c *topicsCheck) Run(ctx context.Context, out *output) error {
	return c.with(func(client *kafka.Client) error {
		reports, err := client.CheckTopics(ctx, TopicSpecs(c.Topics, c.Partitions, c.Replicas, c.Retention))
		if err != nil {
			return err
		}
		if err := showTopics(out, reports); err != nil {
			return err
		}
		for _, r := range reports {
			if len(r.Mismatches) > 0 {
				return errAmiss
			}
		}
		return nil
	})
}

type topicJSON struct {
	Name              string   `json:"name"`
	State             string   `json:"state"`
	Partitions        int      `json:"partitions"`
	ReplicationFactor int      `json:"replicationFactor"`
	Mismatches        []string `json:"mismatches"`
}

func showTopics(out *output, reports []kafka.TopicReport) error {
	list, rows := make([]topicJSON, len(reports)), make([][]string, len(reports))
	for i, r := range reports {
		list[i] = topicJSON{
			Name: r.Name, State: topicState(r), Partitions: r.Partitions, ReplicationFactor: r.ReplicationFactor,
			Mismatches: append([]string{}, r.Mismatches...),
		}
		state := list[i].State
		if !r.Missing && len(r.Mismatches) > 0 {
			state = strings.Join(r.Mismatches, "; ")
		}
		rows[i] = []string{r.Name, strconv.Itoa(r.Partitions), strconv.Itoa(r.ReplicationFactor), state}
	}
	return out.show(map[string]any{"topics": list}, []string{"TOPIC", "PARTITIONS", "REPLICAS", "STATE"}, rows)
}

func topicState(r kafka.TopicReport) string {
	switch {
	case r.Missing:
		return "missing"
	case r.Created:
		return "created"
	case len(r.Mismatches) > 0:
		return "differs"
	default:
		return "present"
	}
}
