package ctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/postgres"
)

type quarantineCommands struct {
	Ls      quarantineLs      `cmd:"" help:"List events in quarantine, oldest first; exit code 3 if there are any."`
	Release quarantineRelease `cmd:"" help:"Publish events, and then those that waited only for them, in the order of their key."`
	Drop    quarantineDrop    `cmd:"" help:"Never publish events; those that waited only for them are published. The events stay on record."`
}

type quarantineLs struct {
	outboxRelay
	All   bool `name:"all" env:"-" help:"Also those that were released or dropped."`
	Limit int  `name:"limit" env:"-" default:"100" help:"At most so many."`
}

type quarantinedJSON struct {
	EventID       uuid.UUID  `json:"eventId"`
	ID            int64      `json:"id"`
	Topic         string     `json:"topic"`
	Key           string     `json:"key"`
	Type          string     `json:"type"`
	Reason        string     `json:"reason"`
	Error         string     `json:"error"`
	Attempts      int        `json:"attempts"`
	BlockedBy     *uuid.UUID `json:"blockedBy"`
	Bytes         *int       `json:"bytes"`
	CreateTime    time.Time  `json:"createTime"`
	QuarantinedAt time.Time  `json:"quarantineTime"`
	Decision      *string    `json:"decision"`
	ResolvedAt    *time.Time `json:"resolveTime"`
}

// Run lists them.
func (c *quarantineLs) Run(ctx context.Context, out *output) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		events, err := control.Quarantined(ctx, c.All, c.Limit)
		if err != nil {
			return err
		}
		list, rows, waiting := make([]quarantinedJSON, len(events)), make([][]string, len(events)), false
		for i, e := range events {
			list[i] = quarantinedJSON{
				e.EventID, e.ID, e.Topic, e.Key, e.Type, e.Reason, e.Error, e.Attempts, e.BlockedBy, e.Bytes,
				e.CreatedAt.UTC(), e.QuarantinedAt.UTC(), nil, e.ResolvedAt,
			}
			if e.Decision != "" {
				list[i].Decision = new(string(e.Decision))
			}
			waiting = waiting || e.ResolvedAt == nil
			rows[i] = []string{
				e.EventID.String(), e.Topic, e.Key, e.Type, size(e.Bytes), e.QuarantinedAt.UTC().Format(time.DateTime), fate(e), why(e),
			}
		}
		err = out.show(map[string]any{"events": list}, []string{"EVENT", "TOPIC", "KEY", "TYPE", "BYTES", "SINCE", "STATE", "WHY"}, rows)
		if err == nil && waiting {
			return errAmiss
		}
		return err
	})
}

func size(bytes *int) string {
	if bytes == nil {
		return "null"
	}
	return strconv.Itoa(*bytes)
}

// fate says what became of an event, or what will.
func fate(e postgres.QuarantinedEvent) string {
	switch {
	case e.ResolvedAt != nil && e.Decision == postgres.Release:
		return "released"
	case e.ResolvedAt != nil && e.Decision == postgres.Drop:
		return "dropped"
	case e.Decision != "":
		return "to " + string(e.Decision)
	case e.BlockedBy != nil:
		return "follows"
	default:
		return "waits"
	}
}

func why(e postgres.QuarantinedEvent) string {
	if e.BlockedBy != nil {
		return "behind " + e.BlockedBy.String()
	}
	return e.Reason + ": " + e.Error
}

// quarantineDecision is a decision about events.
type quarantineDecision struct {
	outboxRelay
	Events []uuid.UUID   `arg:"" optional:"" name:"event" help:"Ids of events, as quarantine ls shows them."`
	All    bool          `name:"all" env:"-" help:"All that were put into quarantine on their own account."`
	Wait   time.Duration `name:"wait" env:"-" default:"10s" help:"How long to wait for the relay to carry it out."`
}

// Validate asks for something to decide on.
func (c *quarantineDecision) Validate() error {
	if c.All != (len(c.Events) == 0) {
		return errors.New("name the events, or say --all")
	}
	return nil
}

type (
	quarantineRelease struct{ quarantineDecision }
	quarantineDrop    struct{ quarantineDecision }
)

// Run has them published.
func (c *quarantineRelease) Run(ctx context.Context, out *output) error {
	return c.decide(ctx, out, postgres.Release)
}

// Run has them left out.
func (c *quarantineDrop) Run(ctx context.Context, out *output) error {
	return c.decide(ctx, out, postgres.Drop)
}

func (c *quarantineDecision) decide(ctx context.Context, out *output, d postgres.Decision) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		wanted := c.Events
		if c.All {
			var err error
			if wanted, err = control.Undecided(ctx); err != nil {
				return err
			}
		}
		judged, err := control.Judge(ctx, wanted, d)
		if err != nil {
			return err
		}
		left, err := control.AwaitJudged(ctx, judged, c.Wait)
		if err != nil {
			return err
		}
		unknown := len(wanted) - len(judged)
		line := fmt.Sprintf("%s: %d events, of which %d wait for the relay", d, len(judged), left)
		if unknown > 0 {
			line += fmt.Sprintf("; %d are not in quarantine", unknown)
		}
		value := map[string]any{"decision": d, "decided": len(judged), "waiting": left, "unknown": unknown}
		if err := out.say(value, line); err != nil {
			return err
		}
		if left+unknown > 0 {
			return errAmiss
		}
		return nil
	})
}
