package preferences

import "time"

// Ending says what a part of a clean's announcement comes to.
type Ending int

// Endings of a part.
const (
	Underway   Ending = iota // more parts follow
	Complete                 // the last part: every list was reached
	Incomplete               // the last part of a clean that was given up or cancelled
)

// Cleaning is an operation that takes entities out of every list, before it has
// begun.
type Cleaning struct {
	Held
	Targets  []Target
	Reorder  bool // false leaves the remaining numbers as they are, with a gap
	Deferred bool // whoever calls for it does not wait
}

// Target is one entity to clean.
type Target struct {
	Entity Entity
	// StateAt is when the entity counts as deleted, if the clean itself has to
	// record that (an operator's); zero if an event has recorded it before.
	StateAt time.Time
}

// Clean is the work on one entity of an operation, as far as it has come.
type Clean struct {
	Held
	Target
	Seq     int // which of the operation's entities
	Reorder bool
	Begun   bool
	Before  int64 // items that the operation has removed of other entities
	Parts   int   // preferences.cleaned events of this entity so far
	Deleted int64 // items of this entity removed so far
}

// clean is the work on one entity of an operation that has just been made.
func (c Cleaning) clean(seq int) Clean {
	return Clean{Held: c.Held, Target: c.Targets[seq], Seq: seq, Reorder: c.Reorder, Begun: true}
}
