package ctl

import (
	"context"
	"fmt"

	"github.com/prefsd/prefsd/pkg/postgres"
)

type outboxReanchor struct {
	outboxRelay
	Everything bool `name:"everything" env:"-" help:"Publish all that the outbox holds: for a restore to a time before the relay's last save, when nobody knows what subscribers have."`
	Force      bool `name:"force" env:"-" help:"Also when the relay knows this database."`
	DryRun     bool `name:"dry-run" env:"-" help:"Say what would be published, and change nothing."`
}

// Run anchors the cursor anew, if that is needed.
func (c *outboxReanchor) Run(ctx context.Context, out *output) error {
	return c.control(ctx, func(control *postgres.OutboxControl) error {
		anchor := func() (postgres.Anchoring, error) { return control.Reanchor(ctx, c.Everything, c.Force) }
		if c.DryRun {
			anchor = func() (postgres.Anchoring, error) { return control.Anchor(ctx, c.Everything) }
		}
		a, err := anchor()
		if err != nil {
			return err
		}
		changed := !c.DryRun && (a.Needed || c.Force)
		value := map[string]any{"needed": a.Needed, "dryRun": c.DryRun, "reanchored": changed, "published": a.Again, "kept": a.Kept}
		what := fmt.Sprintf("%d events are published, some of them perhaps again; %d count as published", a.Again, a.Kept)
		switch {
		case changed:
			return out.say(value, "anchored anew: "+what)
		case !a.Needed && !c.Force:
			return out.say(value, "there is nothing to do: the relay knows this database")
		default:
			return out.say(value, "it would anchor anew: "+what)
		}
	})
}
