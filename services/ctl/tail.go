package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/kafka"
)

type topicsTail struct {
	cluster
	Name  string `arg:"" help:"Topic to print."`
	Count int    `name:"count" env:"-" default:"0" help:"End after so many records; 0 is never."`
}

// Run prints records until the count is reached or ctx ends. It reads as a group
// of its own, which nobody joins again and which the brokers forget.
func (c *topicsTail) Run(ctx context.Context, out *output) error {
	return c.with(func(client *kafka.Client) error {
		if err := exists(ctx, client, c.Name); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		t := &tail{out: out, left: c.Count, stop: stop}
		group := kafka.NewGroup(kafka.GroupConfig{
			Client: client, Topics: []string{c.Name}, Group: "prefsctl-tail-" + uuid.NewString(),
		}, t.show, slog.New(slog.DiscardHandler))
		return errors.Join(group.Run(ctx), t.err)
	})
}

// exists refuses a topic that the brokers do not have: a group would wait for it
// for ever.
func exists(ctx context.Context, client *kafka.Client, topic string) error {
	reports, err := client.CheckTopics(ctx, []kafka.TopicSpec{{Name: topic}})
	if err != nil {
		return err
	}
	if reports[0].Missing {
		return fmt.Errorf("there is no topic %q; prefsctl topics check lists those that are expected", topic)
	}
	return nil
}

// tail prints records, of several partitions at once, one after the other.
type tail struct {
	mu   sync.Mutex
	out  *output
	left int // records; it ends when it comes down to 0
	stop context.CancelFunc
	over bool
	err  error
}

var errOver = errors.New("nothing more is printed")

func (t *tail) show(_ context.Context, r kafka.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return errOver
	}
	t.left--
	t.err = t.print(r)
	if t.err != nil || t.left == 0 {
		t.over = true
		t.stop()
	}
	return nil
}

type recordJSON struct {
	Partition int             `json:"partition"`
	Offset    int64           `json:"offset"`
	Time      time.Time       `json:"time"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
}

// print puts a record on one line, also as JSON, so that a line can be read
// while others come.
func (t *tail) print(r kafka.Record) error {
	line := fmt.Sprintf("%d/%d  %s  %s  %s", r.Partition, r.Offset, r.Time.UTC().Format(time.DateTime), r.Key, r.Value)
	if t.out.json {
		value, err := valueOf(r.Value)
		if err != nil {
			return err
		}
		text, err := json.Marshal(recordJSON{Partition: r.Partition, Offset: r.Offset, Time: r.Time.UTC(), Key: string(r.Key), Value: value})
		if err != nil {
			return fmt.Errorf("encode record %d/%d: %w", r.Partition, r.Offset, err)
		}
		line = string(text)
	}
	if _, err := fmt.Fprintln(t.out.w, line); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// valueOf returns a value as it is if it is JSON, else as a text.
func valueOf(value []byte) (json.RawMessage, error) {
	if json.Valid(value) {
		return value, nil
	}
	text, err := json.Marshal(string(value))
	if err != nil {
		return nil, fmt.Errorf("encode a value: %w", err)
	}
	return text, nil
}
