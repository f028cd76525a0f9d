package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/pressly/goose/v3"
)

const (
	// lockTimeout bounds how long a statement of a step may queue for a table:
	// every reader and writer that comes later queues behind it.
	lockTimeout = 3 * time.Second
	// patience bounds how often a step is tried again after it gave way.
	patience = 2 * time.Minute
	// lockNotAvailable is the SQLSTATE of a statement that hit its lock_timeout.
	lockNotAvailable = "55P03"
)

// Up applies every step that the database lacks and returns them in order. Any
// number of processes may call it at the same moment: one works, the others
// wait for it and find nothing left to do.
func Up(ctx context.Context, db *sql.DB) ([]Step, error) {
	pending, err := HasPending(ctx, db)
	if err != nil || !pending {
		return nil, err
	}
	return migrate(ctx, db, func(p *goose.Provider) ([]*goose.MigrationResult, error) {
		return p.Up(ctx)
	})
}

// Down takes back the newest step that was applied, and drops what it holds.
func Down(ctx context.Context, db *sql.DB) ([]Step, error) {
	version, err := newest(ctx, db)
	if err != nil || version == 0 {
		return nil, err
	}
	return DownTo(ctx, db, version-1)
}

// DownTo takes back every step above version, the newest first. Version 0 leaves
// no table of the product behind.
func DownTo(ctx context.Context, db *sql.DB, version int64) ([]Step, error) {
	applied, err := newest(ctx, db)
	if err != nil || applied <= version {
		return nil, err
	}
	return migrate(ctx, db, func(p *goose.Provider) ([]*goose.MigrationResult, error) {
		return p.DownTo(ctx, version)
	})
}

// migrate repeats move until no statement of it has hit the lock timeout, and
// returns what all tries did together.
func migrate(ctx context.Context, db *sql.DB, move func(*goose.Provider) ([]*goose.MigrationResult, error)) ([]Step, error) {
	var steps []Step
	once := func() (struct{}, error) {
		locker, err := newLocker()
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		p, err := goose.NewProvider(goose.DialectPostgres, db, FS, goose.WithTableName(table),
			goose.WithSessionLocker(locker), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return struct{}{}, backoff.Permanent(fmt.Errorf("read the migrations: %w", err))
		}
		moved, err := move(p)
		if partial := (*goose.PartialError)(nil); errors.As(err, &partial) {
			moved = partial.Applied
			err = fmt.Errorf("%s: %w", partial.Failed.Source.Path, partial.Err)
		}
		steps = append(steps, stepsOf(moved)...)
		if err != nil && !gaveWay(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, once, backoff.WithMaxElapsedTime(patience))
	if err != nil {
		return steps, fmt.Errorf("migrate: %w", err)
	}
	return steps, nil
}

func stepsOf(results []*goose.MigrationResult) []Step {
	steps := make([]Step, 0, len(results))
	for _, r := range results {
		steps = append(steps, Step{Version: r.Source.Version, Name: nameOf(r.Source.Path)})
	}
	return steps
}

// gaveWay reports whether err is a statement that waited too long for a table.
// Such a step was rolled back whole, so it can be tried again.
func gaveWay(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == lockNotAvailable
}
