package postgres

import (
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// plainConns is enough for a migration: one connection holds its lock and works,
// the others look.
const plainConns = 4

// Plain prepares a pool without the settings of a Store: for migrations, and to
// ask whether one is pending, while the schema may not be the one that this
// release expects.
func Plain(url string) (*sql.DB, error) {
	conn, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", redact(err))
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "prefsd"
	}
	pool := stdlib.OpenDB(*conn)
	pool.SetMaxOpenConns(plainConns)
	return pool, nil
}
