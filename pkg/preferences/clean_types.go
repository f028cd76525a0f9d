package preferences

import (
	"time"

	"github.com/google/uuid"
)

// MaxAttempts is how often in a row a clean may be claimed without progress
// before it is given up.
const MaxAttempts = 25

// Ending says what a part of a clean's announcement comes to.
type Ending int

// Endings of a part.
const (
	Underway   Ending = iota // more parts follow
	Complete                 // the last part: every list was reached
	Incomplete               // the last part of a clean that was given up
)

// Clean is the work of taking one deleted entity out of every list: an
// operation of kind cleanEntity, as far as it has come.
type Clean struct {
	ID      uuid.UUID
	Entity  Entity
	Cause   string // "event:<id>" or "operation:<id>": named in history and events
	Actor   string // who asked
	Reorder bool   // false leaves the remaining numbers as they are, with a gap
	// StateAt is when the entity counts as deleted, if the clean itself has to
	// record that (an operator's); zero if an event has recorded it before.
	StateAt  time.Time
	Owner    string        // who runs it; empty: nobody yet
	Epoch    int64         // fences an owner that lost its lease
	Lease    time.Duration // how long an owner may be silent
	Attempts int           // claims without progress, this one included
	Parts    int           // preferences.cleaned events so far
	Deleted  int64         // items removed so far
	Total    int64         // lists that held the entity when it was first looked at
}
