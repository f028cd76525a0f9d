package ctl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/postgres"
)

type migrateCommands struct {
	Up       migrateUp       `cmd:"" help:"Apply every pending migration. Any number of processes may do so at once."`
	Down     migrateDown     `cmd:"" help:"Take back the newest migration, and drop what it holds."`
	Status   migrateStatus   `cmd:"" help:"List migrations and when each was applied; exit code 3 if one is pending."`
	Validate migrateValidate `cmd:"" help:"Check the migrations of this binary; needs no database."`
}

type database struct {
	URL config.Secret `name:"database-url" required:"" help:"PostgreSQL connection string."`
}

// with runs fn on a plain pool: the schema may be any.
func (d database) with(fn func(db *sql.DB) error) (err error) {
	db, err := postgres.Plain(d.URL.Reveal())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return fn(db)
}

// migrated returns nil for a schema that lacks nothing of this release.
func migrated(ctx context.Context, db *sql.DB) error {
	pending, err := migrations.HasPending(ctx, db)
	if err == nil && pending {
		err = errors.New("migrations are pending: run prefsctl migrate up first")
	}
	return err
}

type (
	migrateUp       struct{ database }
	migrateDown     struct{ database }
	migrateStatus   struct{ database }
	migrateValidate struct{}
)

// Run applies what is pending.
func (c *migrateUp) Run(ctx context.Context, out *output) error {
	return c.with(func(db *sql.DB) error {
		steps, err := migrations.Up(ctx, db)
		return errors.Join(showMoved(out, steps, "applied"), err)
	})
}

// Run takes the newest step back.
func (c *migrateDown) Run(ctx context.Context, out *output) error {
	return c.with(func(db *sql.DB) error {
		steps, err := migrations.Down(ctx, db)
		return errors.Join(showMoved(out, steps, "taken back"), err)
	})
}

// Run lists all steps.
func (c *migrateStatus) Run(ctx context.Context, out *output) error {
	return c.with(func(db *sql.DB) error {
		steps, err := migrations.Status(ctx, db)
		if err != nil {
			return err
		}
		rows, list, pending := make([][]string, len(steps)), make([]stepJSON, len(steps)), false
		for i, s := range steps {
			list[i] = stepOf(s)
			rows[i] = []string{fmt.Sprintf("%05d", s.Version), nameOf(s), appliedAt(s)}
			pending = pending || s.Pending()
		}
		if err := out.show(map[string]any{"migrations": list}, []string{"VERSION", "NAME", "APPLIED"}, rows); err != nil {
			return err
		}
		if pending {
			return errAmiss
		}
		return nil
	})
}

// Run checks the files.
func (c *migrateValidate) Run(out *output) error {
	if err := migrations.Validate(); err != nil {
		return err
	}
	return out.say(map[string]any{"valid": true}, "the migrations are well-formed")
}

type stepJSON struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"appliedAt"`
}

func stepOf(s migrations.Step) stepJSON {
	j := stepJSON{Version: s.Version, Name: s.Name}
	if !s.Pending() {
		j.AppliedAt = &s.AppliedAt
	}
	return j
}

// showMoved shows steps also where the move stopped half-way.
func showMoved(out *output, steps []migrations.Step, what string) error {
	if len(steps) == 0 {
		return out.say(map[string]any{"migrations": []string{}}, "there was nothing to do")
	}
	list, rows := make([]string, len(steps)), make([][]string, len(steps))
	for i, s := range steps {
		list[i] = fmt.Sprintf("%05d_%s", s.Version, s.Name)
		rows[i] = []string{fmt.Sprintf("%05d", s.Version), nameOf(s), what}
	}
	return out.show(map[string]any{"migrations": list}, []string{"VERSION", "NAME", "RESULT"}, rows)
}

func nameOf(s migrations.Step) string {
	if s.Name == "" {
		return "(of a newer release)"
	}
	return s.Name
}

func appliedAt(s migrations.Step) string {
	if s.Pending() {
		return "pending"
	}
	return s.AppliedAt.Format(time.DateTime)
}
