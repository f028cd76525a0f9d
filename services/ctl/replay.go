package ctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prefsd/prefsd/pkg/postgres"
)

type outboxReplay struct {
	outboxRelay
	FromID int64  `name:"from-id" env:"-" help:"First id of the outbox to replay."`
	ToID   int64  `name:"to-id" env:"-" help:"Last id to replay; 0 is the newest that was published."`
	Since  moment `name:"since" env:"-" placeholder:"TIME" help:"Only what was written from then on: a time in RFC 3339, or how long ago, such as 90m."`
	Until  moment `name:"until" env:"-" placeholder:"TIME" help:"Only what was written before then."`
	Topic  string `name:"topic" env:"-" help:"Only events of this topic."`
	Key    string `name:"key" env:"-" help:"Only events of this key, such as a user id."`
	Rate   int    `name:"rate" env:"-" default:"0" help:"At most so many events a second; 0 is as fast as it goes."`
	DryRun bool   `name:"dry-run" env:"-" help:"Count what would be replayed, and do nothing."`
}

// Validate refuses to replay everything by mistake.
func (c *outboxReplay) Validate() error {
	if c.FromID <= 0 && c.Since.IsZero() {
		return errors.New("say where to begin: --from-id, or --since (--from-id=1 is all that the outbox holds)")
	}
	if c.Rate < 0 {
		return fmt.Errorf("--rate must not be negative, not %d", c.Rate)
	}
	return nil
}

func (c *outboxReplay) selection() postgres.OutboxSelection {
	return postgres.OutboxSelection{
		FromID: c.FromID, ToID: c.ToID, Since: c.Since.Time, Until: c.Until.Time, Topic: c.Topic, Key: c.Key,
	}
}

type replayJSON struct {
	Topic   string    `json:"topic"`
	Type    string    `json:"type"`
	Events  int       `json:"events"`
	FirstID int64     `json:"firstId"`
	LastID  int64     `json:"lastId"`
	First   time.Time `json:"firstTime"`
	Last    time.Time `json:"lastTime"`
}

// Run counts first, so that the dry run and the replay say the same.
func (c *outboxReplay) Run(ctx context.Context, out *output) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		picked, err := control.Published(ctx, c.selection())
		if err != nil {
			return err
		}
		total := 0
		list, rows := make([]replayJSON, len(picked)), make([][]string, len(picked))
		for i, p := range picked {
			total += p.Events
			list[i] = replayJSON{p.Topic, p.Type, p.Events, p.FirstID, p.LastID, p.First.UTC(), p.Last.UTC()}
			rows[i] = []string{
				p.Topic, p.Type, strconv.Itoa(p.Events), fmt.Sprintf("%d to %d", p.FirstID, p.LastID),
				p.First.UTC().Format(time.DateTime), p.Last.UTC().Format(time.DateTime),
			}
		}
		if c.DryRun || total == 0 {
			return out.show(map[string]any{"dryRun": c.DryRun, "replayed": 0, "picked": list},
				[]string{"TOPIC", "TYPE", "EVENTS", "IDS", "FIRST", "LAST"}, rows)
		}
		return c.replay(ctx, out, control, total)
	})
}

func (c *outboxReplay) replay(ctx context.Context, out *output, control *postgres.OutboxControl, total int) error {
	bar, last := out.progress("replay", total), int64(0)
	done, err := control.Replay(ctx, c.selection(), c.Rate, func(id int64, events int) {
		last = id
		bar.at(events)
	})
	bar.end(done)
	if err != nil {
		return fmt.Errorf("%w (%d events were replayed; --from-id=%d goes on)", err, done, last+1)
	}
	return out.say(map[string]any{"dryRun": false, "replayed": done, "lastId": last},
		fmt.Sprintf("%d events are published again, up to id %d", done, last))
}
