package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// link is one connection outside the pool, opened when it is needed and again
// after it was lost.
type link struct {
	config *pgx.ConnConfig
	turn   chan struct{} // lets one user in at a time
	conn   *pgx.Conn

	// Below this transaction nothing is left to prune. It saves the next chunk
	// from walking over what the last ones deleted. It belongs to the
	// connection, because another server may answer the next one.
	pruned uint64
}

func newLink(url, name string, settings map[string]string) (*link, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open postgres for the %s: %w", name, redact(err))
	}
	for setting, value := range settings {
		config.RuntimeParams[setting] = value
	}
	config.RuntimeParams["application_name"] = name
	return &link{config: config, turn: make(chan struct{}, 1)}, nil
}

// dial opens a connection that the link does not keep.
func (l *link) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.config.RuntimeParams["application_name"], err)
	}
	return conn, nil
}

// get returns the connection, opened if need be.
func (l *link) get(ctx context.Context) (*pgx.Conn, error) {
	if l.conn != nil && !l.conn.IsClosed() {
		return l.conn, nil
	}
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.conn, l.pruned = conn, 0
	return conn, nil
}

// use runs fn on the connection, when nobody else does.
func (l *link) use(ctx context.Context, fn func(*pgx.Conn) error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := l.get(ctx)
	if err != nil {
		return err
	}
	return fn(conn)
}

// drop closes the connection.
func (l *link) drop(ctx context.Context) {
	if l.conn != nil {
		hangUp(ctx, l.conn)
		l.conn = nil
	}
}

// hangUp closes a connection politely, but not for long.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	_ = conn.Close(ctx)
}
