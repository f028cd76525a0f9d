// Package verify checks the promises of the product against a live database
// and, where it is given what a consumer of the topics saw, against Kafka. The
// test suites run it after every story, operators through prefsctl.
package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Source reads what there is to check. Each method reads one snapshot; Lists
// and their changes share one.
type Source interface {
	// Lists calls fn for every list with its history, oldest version first.
	Lists(ctx context.Context, fn func(History) error) error
	// Tombstones returns the deleted entities that still stand in a list, and
	// the deleted users that still have one, and whether their clean is finished.
	Tombstones(ctx context.Context) ([]Tombstone, error)
	// Cleans returns every version that a clean made.
	Cleans(ctx context.Context) ([]CleanChange, error)
	// CleanOperations returns the operations that clean, open or not.
	CleanOperations(ctx context.Context) ([]CleanOperation, error)
	// Effects returns what consumed events have left behind, each with its mark
	// in the inbox.
	Effects(ctx context.Context) ([]Effect, error)
	// Outbox returns every event that has not been pruned, in id order, those in
	// quarantine included.
	Outbox(ctx context.Context) ([]OutboxRow, error)
	// OpenWork counts what must be nothing when all is quiet.
	OpenWork(ctx context.Context) (OpenWork, error)
}

// History is a list with the versions that are kept of it.
type History struct {
	List    preferences.List
	Changes []Change
}

// Change is one version of a list.
type Change struct {
	Version int64
	Time    time.Time // when it was made
	Gaps    bool
	Action  string
	Delta   preferences.Delta
}

// Tombstone is a deleted entity that stands in a list, or a deleted user who has
// one.
type Tombstone struct {
	Entity  preferences.Entity
	ListID  int64
	Cleaned bool // its clean is finished
}

// CleanChange is a version that a clean made.
type CleanChange struct {
	Cause, UserID string
	Entity        preferences.Entity
	ListID        int64
	Version       int64
	Time          time.Time
}

// CleanOperation is the operation behind a clean.
type CleanOperation struct {
	Cause   string
	Entity  preferences.Entity
	Open    bool // it goes on
	Failed  bool // it was given up
	Created time.Time
}

// Effect is what an event has done to an entity.
type Effect struct {
	Cause   string
	Entity  preferences.Entity
	Deletes bool // the entity's state is deleted, and comes from this event
	Cleans  bool // there is an operation, or, of a user, all is erased
	Marked  bool // the inbox knows the event
	Applied bool // and says that it was applied
}

// OutboxRow is an event as it was committed.
type OutboxRow struct {
	ID       int64
	EventID  uuid.UUID
	Type     events.Type
	Topic    string
	Key      string
	Sequence int64
	Payload  []byte
	Time     time.Time // when it was written

	Quarantined bool // it waits for an operator
}

// OpenWork counts what is under way.
type OpenWork struct {
	Operations  int // open
	Quarantined int // events that wait for a decision
	Failed      int // operations that were given up
}

// Finding is a promise that does not hold.
type Finding struct {
	Invariant string // I1 to I11
	Subject   string // what it is about: a list, an event, a cause
	Problem   string
}

// String is the finding in one line.
func (f Finding) String() string { return f.Invariant + " " + f.Subject + ": " + f.Problem }

// Report is what a check saw, and what was wrong with it. A check that saw
// nothing has shown nothing: callers look at the counts.
type Report struct {
	Lists, Items, Changes, Events, Cleans int
	Findings                              []Finding
}

func (r *Report) add(invariant, subject, problem string, args ...any) {
	r.Findings = append(r.Findings, Finding{invariant, subject, fmt.Sprintf(problem, args...)})
}

// Database checks what a database alone can show: I1 (orders), I2 (deleted
// entities are gone), I3 (no version is missing), I4 (every version has its
// event), I6 (cleans are announced), I8 (deltas replay), I10 (tags) and I11
// (rows balance). It holds at every moment.
func Database(ctx context.Context, src Source) (Report, error) {
	var r Report
	rows, err := src.Outbox(ctx)
	if err != nil {
		return r, fmt.Errorf("verify outbox: %w", err)
	}
	r.Events = len(rows)
	ledger, err := newLedger(rows)
	if err != nil {
		return r, fmt.Errorf("verify outbox: %w", err)
	}
	tags := map[string]string{}
	err = src.Lists(ctx, func(h History) error {
		r.Lists, r.Items, r.Changes = r.Lists+1, r.Items+len(h.List.Items), r.Changes+len(h.Changes)
		r.orders(h.List)
		r.versions(h)
		r.told(h, ledger)
		r.replay(h)
		r.balance(h)
		r.tags(h.List, tags)
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("verify lists: %w", err)
	}
	return r, r.deletions(ctx, src, ledger)
}

func (r *Report) deletions(ctx context.Context, src Source, l ledger) error {
	tombstones, err := src.Tombstones(ctx)
	if err != nil {
		return fmt.Errorf("verify tombstones: %w", err)
	}
	for _, t := range tombstones {
		switch {
		case !t.Cleaned:
		case t.Entity.Type == preferences.UserType:
			r.add("I2", subject(t.ListID), "is of user %s, who was erased", t.Entity.ID)
		default:
			r.add("I2", subject(t.ListID), "holds %s %s, which was deleted and cleaned", t.Entity.Type, t.Entity.ID)
		}
	}
	changes, err := src.Cleans(ctx)
	if err != nil {
		return fmt.Errorf("verify cleans: %w", err)
	}
	operations, err := src.CleanOperations(ctx)
	if err != nil {
		return fmt.Errorf("verify operations: %w", err)
	}
	r.announced(operations, changes, l)
	return nil
}

func subject(list int64) string { return fmt.Sprintf("list %d", list) }
