package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed statements.sql
var statementsSQL string

// statements are the named statements, by name.
var statements = parseStatements(statementsSQL)

// parseStatements splits a file at its "-- name:" lines.
func parseStatements(source string) map[string]string {
	out := map[string]string{}
	for _, part := range strings.Split(source, "-- name: ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		out[strings.TrimSpace(name)] = strings.TrimSpace(body)
	}
	return out
}

// prepare gives every statement its name on a new connection. Statements
// prepared by name survive a refused batch; pgx forgets those of its own cache
// then, and every conflict would parse and plan them again.
func prepare(ctx context.Context, c *pgx.Conn) error {
	for name, body := range statements {
		if _, err := c.Prepare(ctx, name, body); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	return nil
}
