package preferences

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// MaxAttempts is how often in a row an operation may be claimed without progress
// before it is given up.
const MaxAttempts = 25

// How long operations are kept that have ended, and how long it is remembered
// after that who asked what of them.
const (
	OperationRetention = 30 * 24 * time.Hour
	CallRetention      = 90 * 24 * time.Hour
)

// OperationKind says what an operation does.
type OperationKind string

// Kinds of operations.
const (
	KindClean     OperationKind = "cleanEntity" // takes one deleted entity out of every list
	KindBulkClean OperationKind = "bulkClean"   // the same for many entities, called for by an operator
	KindReconcile OperationKind = "reconcile"   // asks the owners which of their entities exist
	KindVerify    OperationKind = "verify"      // looks whether the database keeps its promises
)

// OperationKinds lists every kind.
func OperationKinds() []OperationKind {
	return []OperationKind{KindClean, KindBulkClean, KindReconcile, KindVerify}
}

// OperationState says how far an operation is.
type OperationState string

// States of operations, and but for the last two of their steps.
const (
	Pending      OperationState = "pending"
	Running      OperationState = "running"
	Succeeded    OperationState = "succeeded"
	Failed       OperationState = "failed"
	Cancelled    OperationState = "cancelled"
	Compensating OperationState = "compensating" // what it did is being taken back
	Compensated  OperationState = "compensated"
)

// OperationStates lists every state.
func OperationStates() []OperationState {
	return []OperationState{Pending, Running, Succeeded, Failed, Cancelled, Compensating, Compensated}
}

// Ended says whether nobody works on an operation in that state any more.
func (s OperationState) Ended() bool { return s != Pending && s != Running && s != Compensating }

// Held is an operation in the hands of the process that works on it.
type Held struct {
	ID       uuid.UUID
	Kind     OperationKind
	Cause    string // "event:<id>" or "operation:<id>": named in history and events
	Actor    string // who called for it
	Request  json.RawMessage
	Owner    string        // who holds it; empty: nobody yet
	Epoch    int64         // fences an owner that lost its lease
	Lease    time.Duration // how long the owner may be silent
	Attempts int           // claims without progress, this one included
	Done     int64         // what it has dealt with, of Total
	Total    int64
	Stopping bool // somebody cancelled it
	Undoing  bool // it is being compensated

	Traceparent string // W3C trace context, carried to the events; empty: none
}

// Operation is an operation as it stands.
type Operation struct {
	ID       uuid.UUID
	Kind     OperationKind
	State    OperationState
	Cause    string
	Actor    string
	Stopping bool // it was cancelled, or has to be undone, and has not stopped yet
	Owner    string
	Attempts int
	Progress Progress
	Undo     *Undo // nil: nobody has asked for one
	Create   time.Time
	Start    time.Time // zero: not begun
	End      time.Time // zero: not ended
	Failure  *Failure  // of its last attempt; why it failed, if it did
	Report   json.RawMessage
	Cleaned  *CleanReport // of a clean; nil where only an outline was asked for
	Deferred bool         // whoever called for it was told not to wait
}

// Progress is how far something is. Total is zero while it is unknown.
type Progress struct{ Done, Total int64 }

// Undo is how far a compensation is, in lists.
type Undo struct {
	Progress
	Restored int64 // items that stand in their lists again
	By       string
}

// Failure is why something did not work. The text is for operators alone.
type Failure struct {
	Reason fault.Reason
	Text   string
}

// CleanReport is what a clean has done so far, as its rows tell.
type CleanReport struct {
	Deleted       int64
	AffectedUsers int64 // distinct over all entities; known when it has ended
	Reorder       bool
	Entities      []EntityReport
}

// EntityReport is what a clean has done about one entity.
type EntityReport struct {
	Entity        Entity
	State         OperationState
	Deleted       int64
	AffectedUsers int64
	Failure       *Failure // nil unless it failed
}

// OperationNotFound is the fault of an id that no operation has.
func OperationNotFound() error {
	return fault.New(fault.NotFound, fault.ReasonNotFound, "There is no such operation.")
}

// OperationFinished is the fault of a call that comes too late.
func OperationFinished(state OperationState) error {
	return fault.New(fault.Conflict, fault.ReasonOperationFinished, "The operation is %s; it cannot be changed so any more.", state).With("state", string(state))
}
