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
	// time of the list as it is: a tag that the write itself can be held to.
	Write(ctx context.Context, key Key, by By, decide Decide) (Result, error)
	// Holders counts the lists that hold an entity.
	Holders(ctx context.Context, e Entity) (int64, error)
	// Update runs fn in one READ COMMITTED transaction. It may run fn again, so
	// fn assigns results and makes no network call.
	Update(ctx context.Context, fn func(context.Context, Tx) error) error
	// SetState records that an entity was deleted or is back, in a transaction
	// of its own that excludes every writer that adds the entity. A state older
	// than the known one, or of a delivery that the inbox has seen, changes
	// nothing.
	SetState(ctx context.Context, s State) error
}

// Tx is a transaction of Update.
type Tx interface {
	// Seen enters a delivery into the inbox; false means that it is a duplicate.
	Seen(ctx context.Context, d Delivery, outcome Outcome) (fresh bool, err error)
	// Emit puts an event into the outbox.
	Emit(ctx context.Context, m events.Message) error
	// StateTime is the time at which an operator's state of the entity takes
	// effect: now, and after every state that is known.
	StateTime(ctx context.Context, e Entity) (time.Time, error)
	// Repeated returns what an earlier request with the same key has cleaned; done
	// is false if there was none that succeeded. Until the transaction ends nobody
	// else gets past it with the key. A request that is still under way is Aborted,
	// one that meant something else is Unprocessable.
	Repeated(ctx context.Context, by By) (earlier Cleaned, done bool, err error)
	// KeepClean remembers that the request with the key is the operation.
	KeepClean(ctx context.Context, by By, operation uuid.UUID) error
	// OpenClean inserts the operation that stands for a clean; with an owner, it
	// holds the lease.
	OpenClean(ctx context.Context, c Clean) error
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
	// SaveClean stores the clean's Parts and Deleted and renews its lease. It
	// fails with Aborted when another runner has taken the clean over.
	SaveClean(ctx context.Context, c Clean) error
	// LockClean returns the clean with the Parts and Deleted that are stored, and
	// keeps others from changing them. It fails like SaveClean.
	LockClean(ctx context.Context, c Clean) (Clean, error)
	// FailClean stores the clean's Parts and Deleted and marks its operation as
	// failed; its entity does not count as cleaned. The cause's text is for
	// operators. It fails like SaveClean.
	FailClean(ctx context.Context, c Clean, cause error) error
	// FinishClean marks the clean's operation as succeeded and its entity as
	// cleaned. It fails like SaveClean.
	FinishClean(ctx context.Context, c Clean) error
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
}

// State is what becomes known about an entity.
type State struct {
	Entity   Entity
	Deleted  bool
	At       time.Time // the owner's time; the newest wins, and of equals the last
	Source   string    // "event:<id>", "operation:<id>" or a subject
	Delivery Delivery
}
