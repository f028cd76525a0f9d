package postgres

import (
	"context"
	_ "embed"
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

// inFailedTx is the state of a connection whose transaction takes nothing but
// its end, or the way back to a savepoint.
const inFailedTx = 'E'

// preparedKey is where a connection keeps the names that it knows.
const preparedKey = "prefsd.prepared"

// prepare gives the statements of the steps their names on a connection that
// does not know them yet. Statements prepared by name survive a refused batch;
// pgx forgets those of its own cache then, and every conflict would parse and
// plan them again. A connection that opens prepares none: to prepare a statement
// is to wait for whoever locks its tables, and work on others must not.
func prepare(ctx context.Context, c *pgx.Conn, steps []step) error {
	known, _ := c.PgConn().CustomData()[preparedKey].(map[string]bool)
	if known == nil {
		known = make(map[string]bool, len(statements))
		c.PgConn().CustomData()[preparedKey] = known
	}
	for _, st := range steps {
		if known[st.name] {
			continue
		}
		body, named := statements[st.name]
		if !named {
			continue
		}
		if c.PgConn().TxStatus() == inFailedTx { // then the first step leaves it; it may do so twice
			if _, err := c.Exec(ctx, statements[steps[0].name]); err != nil {
				return failure(c, steps[0], false, err)
			}
		}
		if _, err := c.Prepare(ctx, st.name, body); err != nil {
			return failure(c, st, false, err)
		}
		known[st.name] = true
	}
	return nil
}
