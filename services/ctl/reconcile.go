package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
)

type reconcileCommand struct {
	database
	DryRun bool          `name:"dry-run" env:"-" help:"Report what the owner does not know, and change nothing."`
	Every  time.Duration `name:"every" env:"-" default:"500ms" help:"How often to look how far it is."`
}

// Run begins a comparison of lists with their owner, or joins the one that is
// under way, and waits for its end. A consumer that knows the owner does the work.
func (c *reconcileCommand) Run(ctx context.Context, out *output) error {
	return c.service(ctx, func(s *preferences.Service) error {
		o, err := s.BeginRun(ctx, preferences.By{Actor: "prefsctl"}, preferences.KindReconcile, preferences.RunRequest{DryRun: c.DryRun})
		if err != nil {
			return err
		}
		bar := out.progress("entities asked about", 0)
		for !o.State.Ended() {
			bar.at(int(o.Progress.Done))
			select {
			case <-ctx.Done():
				return fmt.Errorf("operations/%s goes on without being watched: %w", o.ID, ctx.Err())
			case <-time.After(c.Every):
			}
			if o, err = s.Operation(ctx, o.ID); err != nil {
				return err
			}
		}
		bar.end(int(o.Progress.Done))
		return showRun(out, o)
	})
}

type runJSON struct {
	Operation string                     `json:"operation"`
	State     preferences.OperationState `json:"state"`
	Error     string                     `json:"error,omitempty"`
	Report    reconcile.Report           `json:"report"`
}

func showRun(out *output, o preferences.Operation) error {
	shown := runJSON{Operation: "operations/" + o.ID.String(), State: o.State, Report: reconcile.Report{Entities: []reconcile.Item{}}}
	if len(o.Report) > 0 {
		if err := json.Unmarshal(o.Report, &shown.Report); err != nil {
			return fmt.Errorf("read the report: %w", err)
		}
	}
	if o.Failure != nil {
		shown.Error = o.Failure.Text
	}
	rows := [][]string{{"state", string(o.State)}}
	if shown.Error != "" {
		rows = append(rows, []string{"error", shown.Error})
	}
	rows = append(rows, reconcileRows(shown.Report)...)
	if err := out.show(shown, []string{"OPERATION", shown.Operation}, rows); err != nil {
		return err
	}
	if o.State != preferences.Succeeded {
		return errAmiss
	}
	return nil
}
