// Package fault is the one error type that crosses layers. A fault carries a
// code, which every edge translates with a table of its own (an HTTP status, a
// message disposition), a reason, which is the public error code of the
// contract, and a message that is safe to show. Any other error is Internal
// and its text never leaves the process.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Code is the class of a fault. Add one only when an edge must treat it
// differently from every existing code.
type Code string

// Codes known to the edges.
const (
	Internal             Code = "internal"              // a bug or an unclassified error
	Invalid              Code = "invalid"               // the request can never succeed as it is
	Unprocessable        Code = "unprocessable"         // well-formed, but about something that does not exist here
	Unauthenticated      Code = "unauthenticated"       // nobody vouches for the caller
	Denied               Code = "denied"                // the caller may not do this
	NotFound             Code = "not_found"             // absent, or somebody else's
	Exists               Code = "exists"                // the thing to create is there already
	Conflict             Code = "conflict"              // the state of the world forbids it
	Precondition         Code = "precondition"          // an If-Match or If-None-Match did not hold
	PreconditionRequired Code = "precondition_required" // a condition must be sent and was not
	Aborted              Code = "aborted"               // a concurrent request won; try again
	Expired              Code = "expired"               // what it takes is not kept any more
	Unavailable          Code = "unavailable"           // a dependency is away; try again later
	Deadline             Code = "deadline"              // the time allowed ran out
)

// Codes lists every code, so that an edge can prove its table complete.
func Codes() []Code {
	return []Code{
		Internal, Invalid, Unprocessable, Unauthenticated, Denied, NotFound, Exists,
		Conflict, Precondition, PreconditionRequired, Aborted, Expired, Unavailable, Deadline,
	}
}

// Reason is the public error code, in UPPER_SNAKE, at most 63 characters
// (google.rpc.ErrorInfo.reason, AIP-193).
type Reason string

// Reasons that more than one layer names.
const (
	ReasonInternal             Reason = "INTERNAL"
	ReasonInvalidField         Reason = "INVALID_FIELD"
	ReasonImmutableField       Reason = "IMMUTABLE_FIELD"
	ReasonDuplicateEntity      Reason = "DUPLICATE_ENTITY"
	ReasonOrderConflict        Reason = "ORDER_CONFLICT"
	ReasonTooManyItems         Reason = "TOO_MANY_ITEMS"
	ReasonUnknownDomain        Reason = "UNKNOWN_DOMAIN"
	ReasonUnknownEntityType    Reason = "UNKNOWN_ENTITY_TYPE"
	ReasonInvalidPageToken     Reason = "INVALID_PAGE_TOKEN"
	ReasonInvalidSyncToken     Reason = "INVALID_SYNC_TOKEN" //nolint:gosec // a code, not a credential
	ReasonVersionExpired       Reason = "VERSION_EXPIRED"
	ReasonSyncTokenExpired     Reason = "SYNC_TOKEN_EXPIRED" //nolint:gosec // a code, not a credential
	ReasonMalformedCondition   Reason = "MALFORMED_PRECONDITION"
	ReasonUserDeleted          Reason = "USER_DELETED"
	ReasonEntityDeleted        Reason = "ENTITY_DELETED"
	ReasonOperationFinished    Reason = "OPERATION_FINISHED"
	ReasonNotFound             Reason = "NOT_FOUND"
	ReasonAlreadyExists        Reason = "ALREADY_EXISTS"
	ReasonPreconditionFailed   Reason = "PRECONDITION_FAILED"
	ReasonPreconditionRequired Reason = "PRECONDITION_REQUIRED"
	ReasonRequestInProgress    Reason = "REQUEST_IN_PROGRESS"
	ReasonIdempotencyKeyReused Reason = "IDEMPOTENCY_KEY_REUSED"
	ReasonUnavailable          Reason = "UNAVAILABLE"
	ReasonOwnerUnavailable     Reason = "OWNER_UNAVAILABLE"
	ReasonOutcomeUnknown       Reason = "OUTCOME_UNKNOWN"
	ReasonDeadlineExceeded     Reason = "DEADLINE_EXCEEDED"
)

// Violation says what is wrong with one field of a request.
type Violation struct {
	Field       string // a path such as preferences[3].order
	Description string // a sentence that says what to send instead
}

// Error is a classified error. Reason, Message, Details and Violations are
// shown to callers; the cause is only logged.
type Error struct {
	Code       Code
	Reason     Reason
	Message    string
	Details    map[string]any
	Violations []Violation
	cause      error
}

// New returns a fault whose formatted message is safe to show to a caller.
func New(code Code, reason Reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy with the underlying cause, for logs and errors.Is.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// With returns a copy with one more detail of the public answer.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Details = make(map[string]any, len(e.Details)+1)
	for k, v := range e.Details {
		c.Details[k] = v
	}
	c.Details[name] = value
	return &c
}

// With returns a fault with one more detail, and any other error as it is.
func With(err error, name string, value any) error {
	f, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	return f.With(name, value)
}

// Violating returns a copy that names the offending fields.
func (e *Error) Violating(v ...Violation) *Error {
	c := *e
	c.Violations = append(append([]Violation(nil), e.Violations...), v...)
	return &c
}

// Error implements error; the text is for logs.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Reason, e.Message)
	for _, v := range e.Violations {
		text += fmt.Sprintf("; %s: %s", v.Field, v.Description)
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the outermost fault in err's chain, or Internal.
func CodeOf(err error) Code {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return Internal
}

// ReasonOf returns the reason of the outermost fault in err's chain, or
// INTERNAL.
func ReasonOf(err error) Reason {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Reason
	}
	return ReasonInternal
}

// Join makes one fault of all that is wrong with a request: the first one, with
// the violations of the others too. Of those about one value, or about one value
// within another, the first stays: what cannot be read breaks every rule. Only
// Invalid faults are joined; where there is none, the first error is returned.
func Join(errs ...error) error {
	var first error
	var joined *Error
	for _, err := range errs {
		if first == nil {
			first = err
		}
		f, ok := errors.AsType[*Error](err)
		switch {
		case !ok || f.Code != Invalid:
		case joined == nil:
			joined = f
		default:
			joined = joined.Violating(joined.newTo(f.Violations)...)
		}
	}
	if joined == nil {
		return first
	}
	return joined
}

// newTo returns the violations about values of which e says nothing, nor about
// what is within them or round them.
func (e *Error) newTo(all []Violation) []Violation {
	said, round := map[string]bool{}, map[string]bool{}
	for _, v := range e.Violations {
		said[v.Field] = true
		for _, path := range paths(v.Field) {
			round[path] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(v Violation) bool {
		within := slices.ContainsFunc(paths(v.Field), func(path string) bool { return said[path] })
		return within || round[v.Field] || said["$"]
	})
}

// paths returns a path and those of all values round it.
func paths(field string) []string {
	var out []string
	for i := range len(field) {
		if field[i] == '.' || field[i] == '[' {
			out = append(out, field[:i])
		}
	}
	return append(out, field)
}
