package ctl

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

type operationsCommands struct {
	Ls     operationsLs     `cmd:"" help:"List operations, newest first."`
	Show   operationsShow   `cmd:"" help:"Show one operation, with what it did or found; exit code 3 if it failed or was cancelled."`
	Watch  operationsWatch  `cmd:"" help:"Follow an operation to its end; exit code 3 if it failed or was cancelled."`
	Cancel operationsCancel `cmd:"" help:"Stop an operation between two of its transactions."`
	Undo   operationsUndo   `cmd:"" help:"Take back what a clean did: every list gets its items back. One that goes on is cancelled first."`
}

// service runs fn on the use cases, over a database that has all migrations.
func (d database) service(ctx context.Context, fn func(*preferences.Service) error) (err error) {
	if err := d.with(func(db *sql.DB) error { return migrated(ctx, db) }); err != nil {
		return err
	}
	store, err := postgres.Open(postgres.Config{URL: d.URL.Reveal(), MaxConns: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return fn(preferences.New(preferences.Options{Store: store}))
}

type operationsLs struct {
	database
	Kind  string `name:"kind" env:"-" enum:"cleanEntity,bulkClean,reconcile,verify," default:"" help:"Only operations of this kind: cleanEntity, bulkClean, reconcile or verify."`
	State string `name:"state" env:"-" enum:"pending,running,succeeded,failed,cancelled,compensating,compensated," default:"" help:"Only operations in this state."`
	Limit int    `name:"limit" env:"-" default:"50" help:"At most so many."`
}

// Run lists what is newest.
func (c *operationsLs) Run(ctx context.Context, out *output) error {
	return c.service(ctx, func(s *preferences.Service) error {
		q := preferences.OperationQuery{Kind: preferences.OperationKind(c.Kind), State: preferences.OperationState(c.State)}
		list, rows := []operationJSON{}, [][]string{}
		for len(list) < c.Limit {
			q.Size = min(c.Limit-len(list), preferences.MaxHistory)
			page, err := s.Operations(ctx, q)
			if err != nil {
				return err
			}
			for _, o := range page.Operations {
				list = append(list, operationOf(o))
				rows = append(rows, []string{
					o.ID.String(), string(o.Kind), stateText(o), counted(o.Progress), o.Create.Format(time.DateTime), o.Actor,
				})
			}
			if q.Token = page.NextToken; q.Token == "" {
				break
			}
		}
		return out.show(map[string]any{"operations": list}, []string{"OPERATION", "KIND", "STATE", "PROGRESS", "CREATED", "ACTOR"}, rows)
	})
}

// oneOperation is an operation that a command is about.
type oneOperation struct {
	database
	ID string `arg:"" help:"The operation's id, as ls shows it; operations/<id> means the same."`
}

func (c oneOperation) id() (uuid.UUID, error) {
	id, err := uuid.Parse(strings.TrimPrefix(c.ID, "operations/"))
	if err != nil {
		return uuid.Nil, fmt.Errorf("%q is no id of an operation", c.ID)
	}
	return id, nil
}

// Validate refuses what cannot be an id.
func (c oneOperation) Validate() error {
	_, err := c.id()
	return err
}

type operationsShow struct{ oneOperation }

// Run shows the operation as it is now.
func (c *operationsShow) Run(ctx context.Context, out *output) error {
	return c.service(ctx, func(s *preferences.Service) error {
		id, err := c.id()
		if err != nil {
			return err
		}
		o, err := s.Operation(ctx, id)
		if err != nil {
			return err
		}
		return showOperation(out, o)
	})
}

type operationsWatch struct {
	oneOperation
	Every time.Duration `name:"every" env:"-" default:"200ms" help:"How often to look."`
}

// Run shows progress on the standard error, and the end on the standard output.
func (c *operationsWatch) Run(ctx context.Context, out *output) error {
	return c.service(ctx, func(s *preferences.Service) error {
		id, err := c.id()
		if err != nil {
			return err
		}
		return watch(ctx, out, s, id, c.Every)
	})
}

func watch(ctx context.Context, out *output, s *preferences.Service, id uuid.UUID, every time.Duration) error {
	var bar *progress
	phase := ""
	for {
		o, err := s.Operation(ctx, id)
		if err != nil {
			return err
		}
		unit, done := counting(o.Kind)
		what, p := unit+" "+done, o.Progress
		if o.Undo != nil && (o.State == preferences.Compensating || o.State == preferences.Compensated) {
			what, p = "lists put right", o.Undo.Progress
		}
		if bar == nil || phase != what {
			bar, phase = out.progress(what, 0), what
		}
		bar.total = int(p.Total)
		bar.at(int(p.Done))
		if o.State.Ended() {
			bar.end(int(p.Done))
			return showOperation(out, o)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// caller is who asks for something, as the audit events have it.
type caller struct {
	Actor string `name:"actor" env:"-" default:"prefsctl" help:"Who asks, for the audit events."`
	Watch bool   `name:"watch" env:"-" help:"Follow the operation to its end."`
}

type operationsCancel struct {
	oneOperation
	caller
	Undo bool `name:"undo" env:"-" help:"Take back what it did, too."`
}

// Run asks for the end; whoever works on the operation sees to it.
func (c *operationsCancel) Run(ctx context.Context, out *output) error {
	return c.stop(ctx, out, c.caller, c.Undo)
}

type operationsUndo struct {
	oneOperation
	caller
}

// Run asks for the undo; a runner carries it out.
func (c *operationsUndo) Run(ctx context.Context, out *output) error {
	return c.stop(ctx, out, c.caller, true)
}

func (c oneOperation) stop(ctx context.Context, out *output, by caller, undo bool) error {
	return c.service(ctx, func(s *preferences.Service) error {
		id, err := c.id()
		if err != nil {
			return err
		}
		o, err := s.CancelOperation(ctx, id, preferences.By{Actor: by.Actor}, undo)
		switch {
		case err != nil:
			return err
		case !by.Watch:
			return out.say(operationOf(o), fmt.Sprintf("operation %s: %s", o.ID, stateText(o)))
		}
		err = watch(ctx, out, s, id, time.Second/5)
		if errors.Is(err, errAmiss) {
			return nil // cancelled is what was wanted
		}
		return err
	})
}

type operationJSON struct {
	Name     string                `json:"name"`
	Kind     string                `json:"kind"`
	State    string                `json:"state"`
	Stopping bool                  `json:"cancelRequested"`
	Done     int64                 `json:"done"`
	Total    int64                 `json:"total"`
	Undo     *operationUndoJSON    `json:"undo,omitempty"`
	Actor    string                `json:"actor"`
	Cause    string                `json:"cause"`
	Owner    string                `json:"owner,omitempty"`
	Attempts int                   `json:"attempts"`
	Created  time.Time             `json:"createTime"`
	Started  *time.Time            `json:"startTime"`
	Ended    *time.Time            `json:"endTime"`
	Failure  string                `json:"failure,omitempty"`
	Users    int64                 `json:"affectedUsers"`
	Entities []operationEntityJSON `json:"entities,omitempty"`
	Report   json.RawMessage       `json:"report,omitempty"`
}

type operationUndoJSON struct {
	Done     int64  `json:"done"`
	Total    int64  `json:"total"`
	Restored int64  `json:"restored"`
	Actor    string `json:"actor"`
}

type operationEntityJSON struct {
	EntityType    string `json:"entityType"`
	EntityID      string `json:"entityId"`
	State         string `json:"state"`
	Deleted       int64  `json:"deleted"`
	AffectedUsers int64  `json:"affectedUsers"`
	Failure       string `json:"failure,omitempty"`
}

func operationOf(o preferences.Operation) operationJSON {
	out := operationJSON{
		Name: "operations/" + o.ID.String(), Kind: string(o.Kind), State: string(o.State), Stopping: o.Stopping,
		Done: o.Progress.Done, Total: o.Progress.Total, Actor: o.Actor, Cause: o.Cause, Owner: o.Owner, Attempts: o.Attempts,
		Created: o.Create, Failure: failureText(o.Failure), Report: o.Report,
	}
	if !o.Start.IsZero() {
		out.Started = &o.Start
	}
	if !o.End.IsZero() {
		out.Ended = &o.End
	}
	if u := o.Undo; u != nil {
		out.Undo = &operationUndoJSON{u.Done, u.Total, u.Restored, u.By}
	}
	if o.Cleaned != nil {
		out.Users = o.Cleaned.AffectedUsers
		for _, e := range o.Cleaned.Entities {
			out.Entities = append(out.Entities, operationEntityJSON{
				e.Entity.Type, e.Entity.ID, string(e.State), e.Deleted, e.AffectedUsers, failureText(e.Failure),
			})
		}
	}
	return out
}

func failureText(f *preferences.Failure) string {
	if f == nil {
		return ""
	}
	return string(f.Reason) + ": " + f.Text
}

func stateText(o preferences.Operation) string {
	if o.Stopping {
		return string(o.State) + ", about to stop"
	}
	return string(o.State)
}

func counted(p preferences.Progress) string {
	return strconv.FormatInt(p.Done, 10) + " of " + strconv.FormatInt(p.Total, 10)
}

// showOperation prints an operation and, for people, what it did or found below it.
func showOperation(out *output, o preferences.Operation) error {
	unit, _ := counting(o.Kind)
	rows := [][]string{
		{"name", "operations/" + o.ID.String()},
		{"kind", string(o.Kind)},
		{"state", stateText(o)},
		{"progress", counted(o.Progress) + " " + unit},
		{"called", o.Create.Format(time.DateTime) + " by " + o.Actor},
	}
	if !o.End.IsZero() {
		rows = append(rows, []string{"ended", o.End.Format(time.DateTime)})
	}
	if o.Cleaned != nil {
		rows = append(rows, []string{"users", strconv.FormatInt(o.Cleaned.AffectedUsers, 10)})
	}
	if u := o.Undo; u != nil {
		rows = append(rows, []string{"undo", fmt.Sprintf("%s lists, %d items restored, by %s", counted(u.Progress), u.Restored, u.By)})
	}
	if o.Failure != nil {
		rows = append(rows, []string{"failure", failureText(o.Failure)})
	}
	report, err := reportRows(o)
	if err != nil {
		return err
	}
	rows = append(rows, report...)
	if err := out.show(operationOf(o), []string{"OPERATION", "IS"}, rows); err != nil {
		return err
	}
	if o.State == preferences.Failed || o.State == preferences.Cancelled {
		return errAmiss
	}
	return nil
}
