package ctl

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/prefsd/prefsd/pkg/postgres"
)

type outboxCommands struct {
	Status     outboxStatus       `cmd:"" help:"Show how delivery stands; exit code 3 if an event is in quarantine or the relay stands still."`
	Pause      outboxPause        `cmd:"" help:"Stop publishing. Saves go on; once the command returns nothing is published any more."`
	Resume     outboxResume       `cmd:"" help:"Publish again, from where it stopped."`
	Replay     outboxReplay       `cmd:"" help:"Publish events again that the outbox still holds, in their order and under their ids."`
	Quarantine quarantineCommands `cmd:"" help:"Decide on events that the broker refuses for good, and on what waits behind them."`
	Reanchor   outboxReanchor     `cmd:"" help:"Let the relay go on after a restore or a failover: what may not have been published is, perhaps again."`
}

// outboxRelay is the relay that a command is about.
type outboxRelay struct {
	database
	Relay string `name:"relay-name" default:"main" help:"Which relay: a deployment has one."`
}

// control runs fn on a database that has all migrations.
func (r outboxRelay) control(ctx context.Context, fn func(*postgres.OutboxControl) error) error {
	if err := r.with(func(db *sql.DB) error { return migrated(ctx, db) }); err != nil {
		return err
	}
	c, err := postgres.NewOutboxControl(r.URL.Reveal(), r.Relay)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:contextcheck // it takes a moment, also when ctx is over
	return fn(c)
}

type outboxStatus struct {
	outboxRelay
	Watch bool          `name:"watch" env:"-" help:"Show it again and again, until nothing waits."`
	Every time.Duration `name:"every" env:"-" default:"1s" help:"How often --watch looks."`
}

type outboxJSON struct {
	Leader           string  `json:"leader"`
	Epoch            int64   `json:"epoch"`
	Paused           bool    `json:"paused"`
	NeedsReanchor    bool    `json:"needsReanchor"`
	Backlog          bool    `json:"backlog"`
	Unpublished      int64   `json:"unpublished"`
	Capped           bool    `json:"unpublishedCapped"`
	OldestAgeSeconds float64 `json:"oldestUnpublishedAgeSeconds"`
	Quarantined      int64   `json:"quarantined"`
	BlockedKeys      int64   `json:"blockedKeys"`
	Decided          int64   `json:"decided"`
	LastID           int64   `json:"lastPublishedId"`
}

func stateOf(s postgres.OutboxState) outboxJSON {
	return outboxJSON{
		Leader: s.Leader, Epoch: s.Epoch, Paused: s.Paused, NeedsReanchor: s.NeedsReanchor, Backlog: s.Backlog,
		Unpublished: s.Unpublished, Capped: s.Capped, OldestAgeSeconds: s.OldestAge.Seconds(),
		Quarantined: s.Quarantined, BlockedKeys: s.BlockedKeys, Decided: s.Decided, LastID: s.LastID,
	}
}

// Run asks the database, so it works whatever the services do.
func (c *outboxStatus) Run(ctx context.Context, out *output) error {
	if err := c.with(func(db *sql.DB) error { return migrated(ctx, db) }); err != nil {
		return err
	}
	for {
		s, err := postgres.OutboxStatus(ctx, c.URL.Reveal(), c.Relay)
		if err != nil {
			return err
		}
		if !c.Watch || s.Unpublished == 0 {
			return showOutbox(out, s)
		}
		oldest := s.OldestAge.Round(time.Millisecond)
		if err := out.line(stateOf(s), fmt.Sprintf("unpublished %s, oldest %s, relay %s", unpublished(s), oldest, relay(s))); err != nil {
			return err
		}
		select {
		case <-time.After(c.Every):
		case <-ctx.Done():
			return nil
		}
	}
}

func showOutbox(out *output, s postgres.OutboxState) error {
	err := out.show(stateOf(s), []string{"OUTBOX", "STATE"}, [][]string{
		{"unpublished", unpublished(s)},
		{"oldest", s.OldestAge.Round(time.Millisecond).String()},
		{"relay", relay(s)},
		{"last published", strconv.FormatInt(s.LastID, 10)},
		{"quarantined", quarantined(s)},
	})
	if err == nil && (s.Quarantined > 0 || s.Paused || s.NeedsReanchor) {
		return errAmiss
	}
	return err
}

type outboxPause struct{ outboxRelay }

// Run returns once nothing is published any more.
func (c *outboxPause) Run(ctx context.Context, out *output) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		if err := control.Pause(ctx); err != nil {
			return err
		}
		return out.say(map[string]any{"paused": true}, "paused: events wait in the outbox until prefsctl outbox resume")
	})
}

type outboxResume struct{ outboxRelay }

// Run lets the relays claim the lease again.
func (c *outboxResume) Run(ctx context.Context, out *output) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		was, err := control.Resume(ctx)
		if err != nil {
			return err
		}
		line := "resumed: prefsctl outbox status --watch shows how it catches up"
		if !was {
			line = "it was not paused"
		}
		return out.say(map[string]any{"paused": false, "wasPaused": was}, line)
	})
}

func unpublished(s postgres.OutboxState) string {
	n := strconv.FormatInt(s.Unpublished, 10)
	if s.Capped {
		return "more than " + n
	}
	return n
}

// relay says in words who publishes, and why nobody does.
func relay(s postgres.OutboxState) string {
	switch {
	case s.NeedsReanchor:
		return "stands still: its cursor belongs to another history of the database"
	case s.Paused:
		return "paused"
	case s.Leader == "" && !s.Known:
		return "none has run yet"
	case s.Leader == "":
		return "none runs"
	case s.Backlog:
		return fmt.Sprintf("%s (epoch %d), working off a backlog", s.Leader, s.Epoch)
	default:
		return fmt.Sprintf("%s (epoch %d)", s.Leader, s.Epoch)
	}
}

func quarantined(s postgres.OutboxState) string {
	if s.Quarantined == 0 {
		return "0"
	}
	text := fmt.Sprintf("%d events of %d keys wait for a decision", s.Quarantined-s.Decided, s.BlockedKeys)
	if s.Decided > 0 {
		text += fmt.Sprintf(", %d for the relay to carry one out", s.Decided)
	}
	return text
}
