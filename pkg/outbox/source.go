package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Source is the outbox table and the row that says who works it off and how
// far that has come.
type Source interface {
	// Claim takes the lease, when it is free or owner has it already, and
	// begins a term. It returns ErrHeld while another relay leads or the outbox
	// is paused, and ErrReanchor when the stored cursor belongs to another
	// cluster. A relay that is not known yet begins before the first row.
	Claim(ctx context.Context, owner string, lease time.Duration) (Term, error)

	// Recall says what the database has of what a relay knows to be committed,
	// whoever leads now. Of a cluster that the stored cursor does not belong to
	// it says nothing about events.
	Recall(ctx context.Context, m Memory) (Recalled, error)

	// Window returns the places of at most limit rows that are in the cursor's
	// window, not in its snapshot, and above its WindowID, in the order of ids.
	// It may take long, and runs beside the term.
	Window(ctx context.Context, c Cursor, limit int) ([]Place, error)

	// Listen calls wake once it listens, and whenever another process says that
	// there is something new, until ctx ends or the connection does.
	Listen(ctx context.Context, wake func()) error

	// Vitals says what the database shows of the outbox's health.
	Vitals(ctx context.Context) (Vitals, error)

	// Prune deletes at most limit rows that every relay has published and that
	// are older than retention, and returns how many.
	Prune(ctx context.Context, retention time.Duration, limit int) (int, error)
}

// Term is the time during which one relay leads. It lives on one connection
// and ends with it, so that a cursor in memory never outlives what it is about.
type Term interface {
	// Start returns the stored cursor and the term's epoch.
	Start() (Cursor, int64)

	// Round returns the rows that became visible since the cursor, in the
	// order of ids. It returns ErrReanchor when transaction numbers have gone
	// backwards.
	Round(ctx context.Context, after Cursor, limit Limit) (Round, error)

	// Rows reads the rows at these places, in this order. It returns how many
	// places it covers, at least one: the limit may cut it short. Of those,
	// rows that are no longer in the outbox are left out.
	Rows(ctx context.Context, places []Place, limit Limit) (rows []Row, covered int, err error)

	// Save stores the cursor and renews the lease, and returns what operators
	// want. It returns ErrFenced when the epoch is over.
	Save(ctx context.Context, c Cursor, lease time.Duration) (Wishes, error)

	// Refused notes at a row that the broker did not take it, and why.
	Refused(ctx context.Context, at Place, cause string) error

	// Quarantine moves rows out of the outbox, all or none. It returns
	// ErrFenced when the epoch is over.
	Quarantine(ctx context.Context, exiles []Exile) error

	// Decide carries out at most limit of the decisions about rows in
	// quarantine, in the order of ids, and returns how many. A row that is
	// released goes back into the outbox under its id, so that the next round
	// has it before all later ones of its subject. One waits as long as an
	// earlier one of its subject is undecided. It returns ErrFenced when the
	// epoch is over.
	Decide(ctx context.Context, limit int) (int, error)

	// Release stores the cursor and gives the lease back.
	Release(ctx context.Context, c Cursor) error

	// Close ends the term without a word to the database.
	Close()
}

// Limit bounds what one read holds in memory.
type Limit struct {
	Rows  int
	Bytes int // of values; a single row may exceed it
}

// Place is where a row stands: the transaction that wrote it, and its id.
type Place struct {
	XID uint64
	ID  int64
}

// Snapshot is a set of transactions, in the words of pg_snapshot.
type Snapshot string

// Cursor is how far a relay has come.
type Cursor struct {
	Snapshot Snapshot // every row of these transactions is published
	Window   Snapshot // in a backlog: the rows up to here are published by id; else empty
	WindowID int64    // in a backlog: up to this id they are
	MaxID    int64    // the highest id that was published
}

// Round is what became visible between two snapshots.
type Round struct {
	Rows     []Row
	Snapshot Snapshot // the newer one
	Partial  bool     // Rows are not all of them
}

// Row is one row of the outbox.
type Row struct {
	Place
	EventID       uuid.UUID
	Type          string
	SchemaVersion int    // 0 is somebody else's record, passed on as it was
	Topic         string // where it goes
	Subject       string // what it is about: rows of one topic and subject keep their order
	Key           []byte // nil means no key
	Headers       []Header
	Value         []byte    // nil means a null value
	Written       time.Time // by this process's clock
	BlockedBy     uuid.UUID // an earlier event of its subject that is in quarantine, or Nil
	Defect        error     // why it cannot be published as it is stored
}

// Reason says why a row is in quarantine.
type Reason string

// Reasons for quarantine.
const (
	ReasonRefused   Reason = "refused"   // by the broker, for good
	ReasonMalformed Reason = "malformed" // it is stored in a way that cannot be read
	ReasonBlocked   Reason = "blocked"   // an earlier event of its subject is in quarantine
)

// Exile is a row on its way to the quarantine.
type Exile struct {
	Place
	Reason    Reason
	Error     string
	Attempts  int32     // refusals to add to those it had
	BlockedBy uuid.UUID // for ReasonBlocked
}

// Wishes are what operators want of the leader.
type Wishes struct {
	Pause     bool // it shall step down
	Decisions bool // rows in quarantine were decided on
}

// Vitals is the health of the outbox as the database knows it.
type Vitals struct {
	Led         bool          // a relay has the lease
	Paused      bool          // nobody may
	Oldest      time.Duration // how long the oldest unpublished row has waited; 0 when there is none
	Quarantined int64         // rows that wait for a decision
}

// ErrHeld says that another relay has the lease, or that the outbox is paused.
var ErrHeld = errors.New("lease is not to be had")

// ErrFenced says that the term is over: another relay has claimed the lease, or
// an operator has anchored the cursor anew.
var ErrFenced = errors.New("fenced off: the epoch is over")

// ErrReanchor says that the stored cursor means nothing on this cluster, for
// instance after a restore: publishing from it might skip events. An operator
// has to anchor it anew.
var ErrReanchor = errors.New("the cursor belongs to another history of the database: anchor it anew")
