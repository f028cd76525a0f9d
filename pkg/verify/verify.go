// Package verify checks the promises of the product against a live database
// and, where it is given what a consumer of the topics sees, against Kafka. The
// test suites run it after every story, operators through prefsctl. It reads
// streams, so its memory does not grow with what there is to check.
package verify

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Source reads what there is to check, all of it as of one moment. A stream ends
// with the first error. Two streams may be read in turns.
type Source interface {
	// Kept returns from when on every event is still in the outbox, whatever was
	// pruned; zero if nobody knows.
	Kept(ctx context.Context) (time.Time, error)
	// Lists are all of them with their histories, in the order of their ids.
	Lists(ctx context.Context) iter.Seq2[History, error]
	// Twins returns the ids that more than one item has; of very many, some.
	Twins(ctx context.Context) ([]uuid.UUID, error)
	// Tombstones are the deleted entities that still stand in a list, and the
	// deleted users that still have one, and whether their clean is finished.
	Tombstones(ctx context.Context) iter.Seq2[Tombstone, error]
	// Parts are the events by which cleans are announced, in the order of their
	// cleans and of their ids.
	Parts(ctx context.Context) iter.Seq2[events.Cleaned, error]
	// CleanOperations are those that clean, open or not, in the order of their
	// cleans.
	CleanOperations(ctx context.Context) iter.Seq2[CleanOperation, error]
	// Effects are what events that were consumed longer ago than that have left
	// behind, each with its mark in the inbox, as far back as the inbox goes.
	Effects(ctx context.Context, longer time.Duration) iter.Seq2[Effect, error]
	// Outbox are all events that have not been pruned, those in quarantine
	// included, in no order.
	Outbox(ctx context.Context) iter.Seq2[OutboxRow, error]
	// OpenWork counts what waits, or stands still, for longer than that.
	OpenWork(ctx context.Context, longer time.Duration) (OpenWork, error)
}

// History is a list with the versions that are kept of it, oldest first.
type History struct {
	List    preferences.List
	Changes []Change
	Told    []Told // in no order
}

// Change is one version of a list.
type Change struct {
	Version int64
	Time    time.Time // when it was made
	Gaps    bool
	Action  string
	Actor   string // of a clean: its cause
	Delta   preferences.Delta
}

// cleaned is the clean that made the version, if one did.
func (c Change) cleaned() (Clean, bool) {
	if c.Action != string(preferences.ActionClean) || len(c.Delta.Removed) == 0 {
		return Clean{}, false
	}
	gone := c.Delta.Removed[0]
	return Clean{c.Actor, preferences.Entity{Type: gone.EntityType, ID: gone.EntityID}}, true
}

// Told is an event of the outbox that names a version of a list.
type Told struct {
	Version     int64
	Clean       Clean // whose part it is; zero for a user's change
	Quarantined bool
}

// Clean names a clean: one cause may clean several entities. Cleans are in order
// by cause, then type, then id, byte by byte.
type Clean struct {
	Cause  string
	Entity preferences.Entity
}

// String says whose clean it is.
func (c Clean) String() string { return c.Cause + " of " + c.Entity.Type + " " + c.Entity.ID }

// Tombstone is a deleted entity that stands in a list, or a deleted user who has
// one.
type Tombstone struct {
	Entity  preferences.Entity
	ListID  int64
	Cleaned bool // its clean is finished
}

// CleanOperation is the operation behind a clean.
type CleanOperation struct {
	Clean
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

	Quarantined bool // it waits for an operator, or one has dropped it
	Waiting     bool // no relay has come to it
}

// OpenWork counts what is under way.
type OpenWork struct {
	Operations  int // open, and nobody works on them
	Failed      int // that were given up
	Quarantined int // events that wait for a decision
	Unpublished int // events that no relay has come to
}

// Finding is a promise that does not hold.
type Finding struct {
	Invariant string `json:"-"`       // I1 to I11
	Subject   string `json:"subject"` // what it is about: a list, an event, a cause
	Problem   string `json:"problem"`
}

// String is the finding in one line.
func (f Finding) String() string { return f.Invariant + " " + f.Subject + ": " + f.Problem }

// MostFindings is how many findings of one invariant a report keeps.
const MostFindings = 100

// Report is what a check saw, and what was wrong with it. A check that saw
// nothing has shown nothing: callers look at the counts.
type Report struct {
	Lists, Items, Changes, Events, Cleans int
	Delivered                             int            // records of the topics
	Findings                              []Finding      // the first of each invariant
	Broken                                map[string]int // how many there are of each
}

func (r *Report) add(invariant, subject, problem string, args ...any) {
	if r.Broken == nil {
		r.Broken = map[string]int{}
	}
	if r.Broken[invariant]++; r.Broken[invariant] <= MostFindings {
		r.Findings = append(r.Findings, Finding{invariant, subject, fmt.Sprintf(problem, args...)})
	}
}

// Add takes in what another check saw. What both have seen counts once.
func (r *Report) Add(other Report) {
	r.Lists, r.Items, r.Changes = max(r.Lists, other.Lists), max(r.Items, other.Items), max(r.Changes, other.Changes)
	r.Events, r.Cleans, r.Delivered = max(r.Events, other.Events), max(r.Cleans, other.Cleans), max(r.Delivered, other.Delivered)
	r.Findings = append(r.Findings, other.Findings...)
	for invariant, n := range other.Broken {
		if r.Broken == nil {
			r.Broken = map[string]int{}
		}
		r.Broken[invariant] += n
	}
}

// Database checks what a database alone can show: I1 (orders), I2 (deleted
// entities are gone), I3 (no version is missing), I4 (every version has its
// event), I6 (cleans are announced), I8 (deltas replay), I10 (tags) and I11
// (rows balance). It holds at every moment.
func Database(ctx context.Context, src Source) (Report, error) {
	var r Report
	kept, err := src.Kept(ctx)
	if err != nil {
		return r, fmt.Errorf("verify outbox: %w", err)
	}
	twins, err := src.Twins(ctx)
	if err != nil {
		return r, fmt.Errorf("verify items: %w", err)
	}
	tags := newTags(twins)
	for h, err := range src.Lists(ctx) {
		if err != nil {
			return r, fmt.Errorf("verify lists: %w", err)
		}
		r.Lists, r.Items, r.Changes = r.Lists+1, r.Items+len(h.List.Items), r.Changes+len(h.Changes)
		r.orders(h.List)
		r.versions(h)
		r.told(h, kept)
		r.replay(h)
		r.balance(h)
		r.tags(h.List, tags)
	}
	for t, err := range src.Tombstones(ctx) {
		if err != nil {
			return r, fmt.Errorf("verify tombstones: %w", err)
		}
		r.buried(t)
	}
	return r, r.announced(ctx, src, kept)
}

// buried is I2: what was deleted and cleaned stands nowhere.
func (r *Report) buried(t Tombstone) {
	switch {
	case !t.Cleaned:
	case t.Entity.Type == preferences.UserType:
		r.add("I2", subject(t.ListID), "is of user %s, who was erased", t.Entity.ID)
	default:
		r.add("I2", subject(t.ListID), "holds %s %s, which was deleted and cleaned", t.Entity.Type, t.Entity.ID)
	}
}

func subject(list int64) string { return fmt.Sprintf("list %d", list) }
