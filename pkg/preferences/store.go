package preferences

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
)

// Action says what kind of write made a version.
type Action string

// Actions of the history and of preferences.updated events.
const (
	ActionCreate  Action = "create"
	ActionReplace Action = "replace"
	ActionUpdate  Action = "update"
	ActionDelete  Action = "delete"
	ActionClean   Action = "clean"
	ActionRestore Action = "restore"
)

// Key says which list: that of a user in a domain, or the one that holds the
// user's item.
type Key struct {
	UserID, Domain string
	Item           uuid.UUID // set: the domain is the one of the list that holds it
	Alone          bool      // a write concerns nothing but the item: its list may be read with a Rest
}

// By says who writes, why, and how a write treats the world.
type By struct {
	Action      Action
	Actor       string // the token's subject, "event:<id>" or "operation:<id>"
	RequestID   string
	Traceparent string // W3C trace context, carried to the event; empty: none
	Forced      bool   // preconditions were overridden
	Conditional bool   // decide judges a precondition
	Strict      bool   // adding a deleted entity is an error instead of being skipped
	Rehearsed   bool   // nothing is written
	Once        *Once  // the write happens once, however often it is sent; nil: each time

	Operation uuid.UUID // that the write is part of; Nil: none
}

// Decide computes the list that a writer wants from the one that is stored. It
// is pure, and called again whenever the list has moved on.
type Decide func(stored List) ([]Wanted, error)

// Result is the list after a write, what the write changed, and the deleted
// entities that it left out.
type Result struct {
	List    List
	Summary Summary
	Skipped []Entity

	// Answer is set for a write that happens once: what it was answered the first
	// time. The rest is empty if that was earlier.
	Answer *Answer
}

// Store is the port to the database. There are three ways in: the reads, Write
// for lists, and Update for everything else.
type Store interface {
	// Head reads a list without its items; one never written has version 0.
	Head(ctx context.Context, userID, domain string) (List, error)
	// List reads a list; one never written is empty. A key with an item that
	// does not exist, or is another user's, is NotFound.
	List(ctx context.Context, key Key) (List, error)
	// Item reads one item and the head of its list (List.Items holds it alone).
	// Absent or another user's: NotFound.
	Item(ctx context.Context, userID string, id uuid.UUID) (List, error)
	// History reads versions of a list, newest first, and says whether there are
	// more below them.
	History(ctx context.Context, r HistoryRange) (changes []Change, more bool, err error)
	// Since reads a list and what the history tells from a version on, oldest
	// first, to that of the list, and says whether that was too much.
	Since(ctx context.Context, userID, domain string, h HistorySince) (l List, changes []Change, more bool, err error)
	// Audit reads audit events, newest first, and says whether there are more
	// behind them.
	Audit(ctx context.Context, r AuditRange) (found []AuditEvent, more bool, err error)
	// Write is the one way in which a list changes: rows, history and event in
	// one commit, decided on the very version that it replaces. One that happens
	// once keeps its answer in that commit, also if nothing changes. The result of
	// one that is rehearsed has the items as they would be, and the version and the
	// time of the list as it is: a tag that the write itself can be held to. The
	// result of one that concerns an item alone may hold that item alone.
	Write(ctx context.Context, key Key, by By, decide Decide) (Result, error)
	// Entities returns ids of a type that stand in lists, ascending, behind one.
	Entities(ctx context.Context, entityType, after string, limit int) ([]string, error)
	// Orphans reads items of entities that their owner does not have, and says
	// whether there are more behind them.
	Orphans(ctx context.Context, r OrphanRange) (found []Orphan, more bool, err error)
	// Holders counts the items of entities in all lists, to a million.
	Holders(ctx context.Context, entities ...Entity) (int64, error)
	// Update runs fn in one READ COMMITTED transaction. It may run fn again, so
	// fn assigns results and makes no network call.
	Update(ctx context.Context, fn func(context.Context, Tx) error) error
	// Now is the store's clock, which all replicas share.
	Now(ctx context.Context) (time.Time, error)
	// SetState records that an entity was deleted or is back, in a transaction
	// of its own that excludes every writer that adds the entity. A state older
	// than the known one, or of a delivery that the inbox has seen, changes
	// nothing. It fails with Aborted when it is that of an operation which another
	// runner has taken over, and with Invalid when it is too far ahead.
	SetState(ctx context.Context, s State) error
	// LiftState takes back that an entity is deleted as far as the cause has said
	// so. What counts then is what the owner has said last, if nobody else has
	// said anything since the cause.
	LiftState(ctx context.Context, e Entity, cause, source string) error
	// Operation reads an operation with all that it has done.
	Operation(ctx context.Context, id uuid.UUID) (Operation, error)
	// Operations reads outlines of operations, newest first, and says whether
	// there are more behind them.
	Operations(ctx context.Context, r OperationRange) (found []Operation, more bool, err error)
	// HandOver lets go of an operation whose caller does not wait any longer: told
	// says that it will look after the operation itself.
	HandOver(ctx context.Context, h Held, told bool) error
	// CleanedUsers returns those whom a clean took something from, sorted, each
	// once.
	CleanedUsers(ctx context.Context, id uuid.UUID) ([]string, error)
}

// Tx is a transaction of Update.
type Tx interface {
	// Seen enters a delivery into the inbox; false means that it is a duplicate.
	Seen(ctx context.Context, d Delivery, outcome Outcome) (fresh bool, err error)
	// Emit puts an event into the outbox.
	Emit(ctx context.Context, m events.Message) error
	// StateTimes are the times at which an operator's states of the entities take
	// effect: now, and after every state that is known.
	StateTimes(ctx context.Context, entities []Entity) ([]time.Time, error)
	// Kept returns the operation that an earlier request with the same key was
	// about; Nil if there was none, or if the request has no key. Until the
	// transaction ends nobody else gets past it with the key. A request that is still
	// under way is Aborted, one that meant something else is Unprocessable.
	Kept(ctx context.Context, by By) (uuid.UUID, error)
	// Repeated is Kept for a caller who waits for the operation: one that neither
	// succeeded nor was to be waited for counts as none, and one that goes on as a
	// request that is under way.
	Repeated(ctx context.Context, by By) (uuid.UUID, error)
	// KeepOperation remembers that the request with the key, if it has one, is about
	// the operation.
	KeepOperation(ctx context.Context, by By, operation uuid.UUID) error
	// StopOperation asks for the end of an operation, or for its undo, and says
	// whether it was in time.
	StopOperation(ctx context.Context, id uuid.UUID, actor string, undo bool) (inTime bool, err error)
	// OpenRun inserts an operation of a kind of which one is open at a time, unless
	// there is one; it returns the one that is open then.
	OpenRun(ctx context.Context, h Held) (id uuid.UUID, asked RunRequest, err error)
	// OpenClean inserts an operation; with an owner, it holds the lease.
	OpenClean(ctx context.Context, c Cleaning) error
	// NextClean returns the entity that an operation has to deal with now, and
	// marks it as begun. It fails with Aborted when another runner has taken the
	// operation over, like everything below that is given a Clean or a Held.
	NextClean(ctx context.Context, h Held) (Clean, error)
	// Victims returns the lists that hold a deleted entity, ascending; none if
	// the entity is not deleted (any more).
	Victims(ctx context.Context, e Entity) ([]int64, error)
	// CleanLists locks those of the lists that nobody else has locked and
	// removes the clean's entity from them; it returns what it changed, and how
	// many lists it could not lock.
	CleanLists(ctx context.Context, c Clean, lists []int64) (touched []events.TouchedList, busy int, err error)
	// EraseUser removes the lists of a deleted user with all that is known about
	// them; erased is false if the user is not deleted (any more).
	EraseUser(ctx context.Context, userID string) (lists []events.ErasedList, erased bool, err error)
	// SaveClean stores the clean's Parts and Deleted and renews its lease; it says
	// whether the operation was cancelled.
	SaveClean(ctx context.Context, c Clean) (stopping bool, err error)
	// LockClean returns the entity that an operation is at, as it is stored, and
	// keeps others from changing it; found is false if there is none left.
	LockClean(ctx context.Context, h Held) (c Clean, found bool, err error)
	// EndClean stores the clean's Parts and Deleted and how it ended. Only an entity
	// whose clean succeeded counts as cleaned. The cause's text is for operators.
	EndClean(ctx context.Context, c Clean, state OperationState, cause error) error
	// AllEnded says whether the operation has dealt with all its entities.
	AllEnded(ctx context.Context, h Held) (bool, error)
	// EndOperation counts what the operation has done and marks it as ended; or as
	// compensating, where an undo was asked for meanwhile.
	EndOperation(ctx context.Context, h Held, state OperationState, cause error) error
	// Touched returns the entities that an operation has begun to clean, and the
	// lists that its undo has still to look at.
	Touched(ctx context.Context, h Held) (entities []Entity, lists []int64, err error)
	// PutBack gives a list back what the operation took from it, as far as the list
	// allows, and saves how far the undo is.
	PutBack(ctx context.Context, h Held, by By, list int64) error
}

// Outcome says what became of a consumed event.
type Outcome string

// Outcomes of the inbox.
const (
	Applied      Outcome = "applied"
	Skipped      Outcome = "skipped"
	DeadLettered Outcome = "dead_lettered"
)

// Delivery identifies one consumed event and where it stood. The zero value
// stands for a cause that did not come through Kafka.
type Delivery struct {
	Consumer, Topic, EventID string
	Partition                int
	Offset                   int64
	Traceparent              string // W3C trace context, carried to the events; empty: none
}

// State is what becomes known about an entity.
type State struct {
	Entity   Entity
	Deleted  bool
	At       time.Time // the owner's time; the newest wins, and of equals the last
	Source   string    // "event:<id>", "operation:<id>" or a subject
	Delivery Delivery
	Held     Held          // the operation that says so, if it is not the owner; whoever has lost it records nothing
	Lead     time.Duration // by which At may be ahead of the store's clock; zero: by any
}
