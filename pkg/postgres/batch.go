package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// step is one statement of a batch; read takes its rows.
type step struct {
	name string
	args []any
	read func(pgx.Rows) error
}

func run(name string, args ...any) step {
	for i, arg := range args {
		args[i] = bytesOf(arg)
	}
	return step{name: name, args: args}
}

// bytesOf turns ids into what pgx sends as they are: a uuid.UUID it would have
// to spell, after it has tried in vain to send its bytes.
func bytesOf(arg any) any {
	switch arg := arg.(type) {
	case uuid.UUID:
		return pgtype.UUID{Bytes: arg, Valid: true}
	case []uuid.UUID:
		ids := make(pgtype.FlatArray[pgtype.UUID], len(arg))
		for i, id := range arg {
			ids[i] = pgtype.UUID{Bytes: id, Valid: true}
		}
		return ids
	default:
		return arg
	}
}

// first scans the first row; where there is none, the destinations stay.
func (st step) first(dest ...any) step {
	st.read = func(rows pgx.Rows) error {
		if !rows.Next() {
			return nil
		}
		return rows.Scan(dest...)
	}
	return st
}

// all replaces the slice by one value for each row.
func all[T any](st step, into *[]T, scan pgx.RowToFunc[T]) step {
	st.read = func(rows pgx.Rows) (err error) {
		*into, err = pgx.AppendRows((*into)[:0], rows, scan)
		return err
	}
	return st
}

// edited is the step with another text in its statement, which goes by its text
// then. Only defects that are planted need that.
func (st step) edited(from, to string) step {
	st.name = strings.ReplaceAll(statements[st.name], from, to)
	return st
}

const (
	divisionByZero  = "22012" // a guard did not hold
	uniqueViolation = "23505"
	commit          = "commit"
)

// refusal is the server's no to one statement of a batch. Those before it ran,
// those after it did not.
type refusal struct {
	name string
	err  *pgconn.PgError
}

func (r *refusal) Error() string { return r.name + ": " + r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refused says whether the guard of that name stopped the batch.
func refused(err error, guard string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.name == guard && r.err.Code == divisionByZero
}

// overtaken says whether another version of the list was there first: its head
// has moved on or, behind that fence, its history knows the version already.
func overtaken(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return refused(err, "guardhead") || ok && r.name == "change" && r.err.Code == uniqueViolation
}

// errLost marks work whose connection died before a commit was sent: nothing
// of it happened.
var errLost = errors.New("connection lost")

// errOutcomeUnknown marks a commit that was sent and whose answer never came.
var errOutcomeUnknown = errors.New("commit was sent, its answer is lost")

// send runs the steps in one round trip, once the connection knows them. A batch
// that ends in a commit is done once the commit's answer has been read, whatever
// becomes of the connection afterwards; without that answer its outcome is
// unknown.
func send(ctx context.Context, c *pgx.Conn, steps ...step) error {
	if err := prepare(ctx, c, steps); err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, st := range steps {
		b.Queue(st.name, st.args...)
	}
	res := c.SendBatch(ctx, b)
	committing := steps[len(steps)-1].name == commit
	for _, st := range steps {
		if err := st.take(res); err != nil {
			_ = res.Close() // repeats the error
			return failure(c, st, committing, err)
		}
	}
	if err := res.Close(); err != nil && !committing {
		return failure(c, step{name: "end of batch"}, false, err)
	}
	return nil
}

// take reads the answer to one step.
func (st step) take(res pgx.BatchResults) error {
	rows, err := res.Query()
	if err != nil {
		return err
	}
	if st.read != nil {
		err = st.read(rows)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return err
	}
	if tag := rows.CommandTag().String(); st.name == commit && tag != "COMMIT" {
		return fmt.Errorf("commit answered %s", tag)
	}
	return nil
}

// failure says what an error means for the batch it stopped.
func failure(c *pgx.Conn, st step, committing bool, err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &refusal{st.name, pg}
	}
	_, unsent := errors.AsType[pgx.ErrPreprocessingBatch](err)
	switch {
	case unsent || !c.IsClosed():
		return fmt.Errorf("%s: %w", st.name, err)
	case committing:
		return fmt.Errorf("%s: %w: %w", st.name, errOutcomeUnknown, err)
	default:
		return fmt.Errorf("%s: %w: %w", st.name, errLost, err)
	}
}
