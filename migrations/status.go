package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"
)

// table is where goose keeps what was applied.
const table = "goose_db_version"

// Step is one file of the schema.
type Step struct {
	Version   int64     // its number
	Name      string    // its file name without the number; empty for a step of a newer release
	AppliedAt time.Time // zero while it is pending
}

// Pending reports whether the database still lacks the step.
func (s Step) Pending() bool { return s.AppliedAt.IsZero() }

// HasPending reports whether the database lacks a step that this binary knows.
// It only reads, so a role without any right to change the schema may ask, on an
// empty database too. Steps that only a newer release knows do not count: that
// release promised to leave this one working.
func HasPending(ctx context.Context, db *sql.DB) (bool, error) {
	steps, err := Status(ctx, db)
	return slices.ContainsFunc(steps, Step.Pending), err
}

// Status lists every step that this binary or the database knows, by number. It
// only reads.
func Status(ctx context.Context, db *sql.DB) ([]Step, error) {
	known, err := files()
	if err != nil {
		return nil, err
	}
	at, err := applied(ctx, db)
	if err != nil {
		return nil, err
	}
	steps := make([]Step, 0, len(known))
	for _, step := range known {
		step.AppliedAt = at[step.Version]
		delete(at, step.Version)
		steps = append(steps, step)
	}
	for _, version := range slices.Sorted(maps.Keys(at)) {
		steps = append(steps, Step{Version: version, AppliedAt: at[version]})
	}
	return steps, nil
}

// newest returns the highest step that was applied, 0 if none was.
func newest(ctx context.Context, db *sql.DB) (int64, error) {
	at, err := applied(ctx, db)
	if err != nil || len(at) == 0 {
		return 0, err
	}
	return slices.Max(slices.Collect(maps.Keys(at))), nil
}

// applied reads the table that goose keeps, if it is there, without the row of
// version 0 that goose begins it with.
func applied(ctx context.Context, db *sql.DB) (map[int64]time.Time, error) {
	var exists bool
	err := db.QueryRowContext(ctx, `select to_regclass($1) is not null`, table).Scan(&exists)
	if err != nil {
		return nil, fmt.Errorf("look for the table of migrations: %w", err)
	}
	at := map[int64]time.Time{}
	if !exists {
		return at, nil
	}
	rows, err := db.QueryContext(ctx, `select version_id, max(tstamp) from `+table+` where is_applied and version_id > 0 group by version_id`)
	if err != nil {
		return nil, fmt.Errorf("read the table of migrations: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var version int64
		var when time.Time
		if err := rows.Scan(&version, &when); err != nil {
			return nil, fmt.Errorf("read the table of migrations: %w", err)
		}
		at[version] = when.UTC()
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the table of migrations: %w", err)
	}
	return at, nil
}
