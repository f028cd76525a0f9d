package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/prefsd/prefsd/pkg/fault"
)

// noConnectionError says that no connection was to be had.
type noConnectionError struct{ err error }

func (e *noConnectionError) Error() string { return "connect: " + e.err.Error() }
func (e *noConnectionError) Unwrap() error { return e.err }

// busy are the classes and codes by which the server says that it cannot now:
// connection, resources, operator intervention, system, read-only standby;
// lock_not_available and the conflicts that outlasted their repetitions.
var busy = []string{"08", "53", "57", "58", "25006", "55P03", "40001", "40P01"}

// beyond are the classes of input that no column takes: data exceptions and
// program limits. The decoder refuses such input first; this is the second
// line.
var beyond = []string{"22", "54"}

// translate turns what the database said into what the edges understand. It
// changes faults and nil in nothing.
func translate(err error) error {
	if err == nil || fault.CodeOf(err) != fault.Internal {
		return err
	}
	if errors.Is(err, errOutcomeUnknown) {
		return fault.New(fault.Unavailable, fault.ReasonOutcomeUnknown,
			"The database went away while it was saving: the change may or may not have been made. Read the list before you try again.").Because(err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return translateCode(pg.Code, err)
	}
	_, unconnected := errors.AsType[*noConnectionError](err)
	switch {
	case unconnected && errors.Is(err, context.Canceled):
		return err // the caller left
	case unconnected && waitedInVain(err):
		return fault.New(fault.Deadline, fault.ReasonDeadlineExceeded, "No connection to the database came free in time. Try again soon.").Because(err)
	case unconnected, errors.Is(err, errLost), errors.Is(err, context.DeadlineExceeded):
		return unavailable(err)
	default:
		return err
	}
}

// waitedInVain says whether the time of the caller ran out while every
// connection of the pool was in use, and not while one was being opened.
func waitedInVain(err error) bool {
	_, opening := errors.AsType[*pgconn.ConnectError](err)
	return !opening && errors.Is(err, context.DeadlineExceeded)
}

func translateCode(code string, err error) error {
	starts := func(prefix string) bool { return strings.HasPrefix(code, prefix) }
	switch {
	case slices.ContainsFunc(busy, starts):
		return unavailable(err)
	case slices.ContainsFunc(beyond, starts):
		return fault.New(fault.Invalid, fault.ReasonInvalidField, "The request holds a value that cannot be stored.").Because(err)
	default:
		return err
	}
}

func unavailable(err error) error {
	return fault.New(fault.Unavailable, fault.ReasonUnavailable, "The database is not available. Try again soon.").Because(err)
}
