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
	Status outboxStatus `cmd:"" help:"Show how delivery stands; exit code 3 if an event is in quarantine or the relay stands still."`
}

type outboxStatus struct {
	database
	Relay string `name:"relay-name" default:"main" help:"Relay to show: a deployment has one."`
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
}

// Run asks the database, so it works whatever the services do.
func (c *outboxStatus) Run(ctx context.Context, out *output) error {
	if err := c.with(func(db *sql.DB) error { return migrated(ctx, db) }); err != nil {
		return err
	}
	s, err := postgres.OutboxStatus(ctx, c.URL.Reveal(), c.Relay)
	if err != nil {
		return err
	}
	err = out.show(outboxJSON{
		Leader: s.Leader, Epoch: s.Epoch, Paused: s.Paused, NeedsReanchor: s.NeedsReanchor, Backlog: s.Backlog,
		Unpublished: s.Unpublished, Capped: s.Capped, OldestAgeSeconds: s.OldestAge.Seconds(),
		Quarantined: s.Quarantined, BlockedKeys: s.BlockedKeys,
	}, []string{"OUTBOX", "STATE"}, [][]string{
		{"unpublished", unpublished(s)},
		{"oldest", s.OldestAge.Round(time.Millisecond).String()},
		{"relay", relay(s)},
		{"quarantined", quarantined(s)},
	})
	if err == nil && (s.Quarantined > 0 || s.Paused || s.NeedsReanchor) {
		return errAmiss
	}
	return err
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
	return fmt.Sprintf("%d events of %d keys wait for a decision", s.Quarantined, s.BlockedKeys)
}
