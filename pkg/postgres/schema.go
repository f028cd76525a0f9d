package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/prefsd/prefsd/migrations"
)

const (
	schemaEvery  = time.Second     // between looks for pending migrations
	schemaWithin = 5 * time.Second // one look
)

var errPending = errors.New("migrations are pending")

// AwaitSchema waits until no migration is pending, and applies those that are
// if it may migrate. It uses connections of its own: those of a Store have its
// limits, which are not for migrations. What it waits for is reported whenever
// it becomes something else. The answer is false if ctx ended first; an error
// means that the URL is wrong.
func AwaitSchema(ctx context.Context, url string, migrate bool, report func(missing error)) (there bool, err error) {
	db, err := Plain(url)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ticker := time.NewTicker(schemaEvery)
	defer ticker.Stop()
	last := ""
	for {
		missing := schema(ctx, db, migrate)
		if missing == nil {
			return true, nil
		}
		if missing.Error() != last && ctx.Err() == nil {
			last = missing.Error()
			report(missing)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// schema migrates if it may, and says why the schema is not as it should be.
func schema(ctx context.Context, db *sql.DB, migrate bool) error {
	if migrate {
		_, err := migrations.Up(ctx, db)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, schemaWithin)
	defer cancel()
	pending, err := migrations.HasPending(ctx, db)
	if err == nil && pending {
		err = errPending
	}
	return err
}
