package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// longestCause is how much of an error's text is kept.
const longestCause = 1000

// term implements outbox.Term on the source's main connection.
type term struct {
	source *OutboxSource
	conn   *pgx.Conn
	start  outbox.Cursor
	epoch  int64
	sound  bool // nothing failed on the connection
}

// Start implements outbox.Term.
func (t *term) Start() (outbox.Cursor, int64) { return t.start, t.epoch }

// Round implements outbox.Term.
func (t *term) Round(ctx context.Context, after outbox.Cursor, limit outbox.Limit) (outbox.Round, error) {
	if mutant.Is("relay-by-id") || mutant.Is("relay-by-watermark") {
		return t.mutantRound(ctx, after, limit)
	}
	rows, err := t.conn.Query(ctx, outboxStatements["round"], after.Snapshot, limit.Rows+1, limit.Bytes)
	if err != nil {
		return outbox.Round{}, fmt.Errorf("read a round: %w", err)
	}
	r, err := collectRound(rows, limit)
	if err != nil {
		return outbox.Round{}, fmt.Errorf("read a round: %w", err)
	}
	return r, nil
}

func collectRound(rows pgx.Rows, limit outbox.Limit) (outbox.Round, error) {
	defer rows.Close()
	var out outbox.Round
	var backwards bool
	now := time.Now()
	for rows.Next() {
		if rows.RawValues()[0] == nil { // the snapshot, not a row
			if err := rows.Scan(append(make([]any, rowColumns), &out.Snapshot, &backwards)...); err != nil {
				return out, err
			}
			continue
		}
		row, fits, err := scanRow(rows, now, nil, []any{nil, nil})
		if err != nil {
			return out, err
		}
		out.Partial = out.Partial || !fits
		out.Rows = append(out.Rows, row)
	}
	if err := rows.Err(); err != nil {
		return out, err
	}
	if backwards {
		return out, outbox.ErrReanchor
	}
	out.Partial = out.Partial || len(out.Rows) > limit.Rows
	return out, nil
}

// Rows implements outbox.Term.
func (t *term) Rows(ctx context.Context, places []outbox.Place, limit outbox.Limit) ([]outbox.Row, int, error) {
	xids, ids := make([]uint64, len(places)), make([]int64, len(places))
	for i, p := range places {
		xids[i], ids[i] = p.XID, p.ID
	}
	rows, err := t.conn.Query(ctx, outboxStatements["rows"], xids, ids, limit.Bytes)
	if err != nil {
		return nil, 0, fmt.Errorf("read rows of the outbox: %w", err)
	}
	defer rows.Close()
	out := make([]outbox.Row, 0, len(places))
	covered := len(places)
	now := time.Now()
	for rows.Next() {
		var n int
		row, fits, err := scanRow(rows, now, []any{&n}, nil)
		if err != nil {
			return nil, 0, fmt.Errorf("read rows of the outbox: %w", err)
		}
		if !fits {
			covered = n - 1
			break
		}
		out = append(out, row)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read rows of the outbox: %w", err)
	}
	return out, covered, nil
}

// rowColumns is how many columns scanRow reads.
const rowColumns = 13

// scanRow reads a row of the outbox between columns of another kind. It reports
// whether its value fitted the limit and was sent along.
func scanRow(rows pgx.Rows, now time.Time, before, after []any) (outbox.Row, bool, error) {
	var row outbox.Row
	var key, headers []byte
	var fits bool
	var age float64
	var blockedBy *uuid.UUID
	columns := append(before, &row.XID, &row.ID, &row.EventID, &row.Type, &row.SchemaVersion, &row.Topic, &row.Subject, &key, &headers,
		&row.Value, &fits, &age, &blockedBy)
	if err := rows.Scan(append(columns, after...)...); err != nil {
		return row, false, err
	}
	row.Written = now.Add(-seconds(age))
	if blockedBy != nil {
		row.BlockedBy = *blockedBy
	}
	switch {
	case row.SchemaVersion == 0:
		row.Key = key
	case row.Subject != "":
		row.Key = []byte(row.Subject)
	}
	row.Headers, row.Defect = decodeHeaders(headers)
	return row, fits, nil
}

// Save implements outbox.Term.
func (t *term) Save(ctx context.Context, c outbox.Cursor, lease time.Duration) (outbox.Wishes, error) {
	var w outbox.Wishes
	err := t.conn.QueryRow(ctx, outboxStatements["save"], t.source.relay, t.epoch, c.Snapshot, c.Window, c.WindowID, c.MaxID, lease.Seconds()).
		Scan(&w.Pause, &w.Decisions)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, t.fencedUnless(false, "save the cursor", nil)
	}
	return w, t.fencedUnless(true, "save the cursor", err)
}

// Release implements outbox.Term.
func (t *term) Release(ctx context.Context, c outbox.Cursor) error {
	tag, err := t.conn.Exec(ctx, outboxStatements["release"], t.source.relay, t.epoch, c.Snapshot, c.Window, c.WindowID, c.MaxID)
	t.sound = err == nil
	return t.fencedUnless(tag.RowsAffected() == 1, "release the lease", err)
}

func (t *term) fencedUnless(ours bool, doing string, err error) error {
	if err == nil && !ours {
		err = outbox.ErrFenced
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// Refused implements outbox.Term.
func (t *term) Refused(ctx context.Context, at outbox.Place, cause string) error {
	if _, err := t.conn.Exec(ctx, outboxStatements["refused"], at.XID, at.ID, storable(cause)); err != nil {
		return fmt.Errorf("note a refusal: %w", err)
	}
	return nil
}

// Quarantine implements outbox.Term.
func (t *term) Quarantine(ctx context.Context, exiles []outbox.Exile) error {
	n := len(exiles)
	xids, ids, attempts := make([]uint64, n), make([]int64, n), make([]int32, n)
	reasons, causes, blockers := make([]string, n), make([]string, n), make([]*uuid.UUID, n)
	for i := range exiles {
		e := &exiles[i]
		xids[i], ids[i], attempts[i] = e.XID, e.ID, e.Attempts
		reasons[i], causes[i] = string(e.Reason), storable(e.Error)
		if e.BlockedBy != uuid.Nil {
			blockers[i] = &e.BlockedBy
		}
	}
	var held int
	err := t.conn.QueryRow(ctx, outboxStatements["quarantine"], t.source.relay, t.epoch, xids, ids, reasons, causes, attempts, blockers).Scan(&held)
	return t.fencedUnless(held == 1, "quarantine rows", err)
}

// Decide implements outbox.Term.
func (t *term) Decide(ctx context.Context, limit int) (int, error) {
	if _, err := t.conn.Exec(ctx, outboxStatements["inherit"]); err != nil {
		return 0, fmt.Errorf("carry out decisions: %w", err)
	}
	var held, settled int
	err := t.conn.QueryRow(ctx, outboxStatements["decide"], t.source.relay, t.epoch, limit).Scan(&held, &settled)
	return settled, t.fencedUnless(held == 1, "carry out decisions", err)
}

// storable makes a text that a column takes out of any.
func storable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
	if len(text) > longestCause {
		text = strings.ToValidUTF8(text[:longestCause], "")
	}
	return text
}

// Close implements outbox.Term. The next claim gets a new connection, unless the
// term ended as it should.
func (t *term) Close() {
	if !t.sound {
		t.source.main.drop(context.Background())
	}
}
