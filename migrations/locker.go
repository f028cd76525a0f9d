package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3/lock"
)

// locker serializes migrations by an advisory lock of the session, and sets the
// session up while it holds that lock: so no SQL file can forget its timeout.
type locker struct {
	lock.SessionLocker
}

func newLocker() (*locker, error) {
	const everySecond, tenMinutes = 1, 600
	l, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(everySecond, tenMinutes))
	if err != nil {
		return nil, fmt.Errorf("make the session lock: %w", err)
	}
	return &locker{SessionLocker: l}, nil
}

// SessionLock waits for the lock, then prepares the session that runs the steps.
func (l *locker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := l.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err
	}
	// The applied time is stored without a zone: UTC keeps it readable.
	const settings = `select set_config('lock_timeout', $1, false), set_config('statement_timeout', '0', false), set_config('timezone', 'UTC', false)`
	if _, err := conn.ExecContext(ctx, settings, fmt.Sprintf("%dms", lockTimeout.Milliseconds())); err != nil {
		return errors.Join(fmt.Errorf("prepare the session: %w", err), l.SessionUnlock(context.WithoutCancel(ctx), conn))
	}
	return nil
}

// SessionUnlock gives the session back as it was, because it returns to a pool.
func (l *locker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `reset lock_timeout; reset statement_timeout; reset timezone`)
	return errors.Join(err, l.SessionLocker.SessionUnlock(ctx, conn))
}
