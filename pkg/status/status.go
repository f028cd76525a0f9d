// Package status is what operators see of a deployment as a whole: how far its
// delivery, its consumers and its long work are, as the database knows it.
package status

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/preferences"
)

const (
	// ReportEvery is how often a consumer says how far behind it is.
	ReportEvery = 5 * time.Second

	// StaleAfter is how old that may be before it says nothing about now: no
	// consumer has the partition, or the one that has it reads nothing.
	StaleAfter = 6 * ReportEvery
)

// Status is a deployment at one moment.
type Status struct {
	Time           time.Time // the database's
	Outbox         Outbox
	Operations     map[preferences.OperationState]int64 // those that go on, and those that failed
	DeadLetters    DeadLetters
	Partitions     []Partition
	Reconciliation *Run // the last one that has ended; nil: there was none
	Verification   *Run // likewise
}

// Open counts the operations that go on.
func (s Status) Open() (n int64) {
	for state, count := range s.Operations {
		if !state.Ended() {
			n += count
		}
	}
	return n
}

// Outbox is how delivery stands.
type Outbox struct {
	Relay         string        // its name
	Known         bool          // the relay has run before
	Leader        string        // who holds the lease, or empty
	Epoch         int64         // how often the lease changed hands
	Paused        bool          // by an operator
	NeedsReanchor bool          // the cursor belongs to another cluster
	Backlog       bool          // the relay works off more than one round can hold
	Unpublished   int64         // committed and not noted as published; at least this many when Capped
	Capped        bool          // there are more than were counted
	OldestAge     time.Duration // how long the oldest of them has waited
	Quarantined   int64         // events that wait for a decision, or for the leader to carry it out
	LastID        int64         // the highest id that was published
}

// DeadLetters are events that could not be applied, as far as the inbox reaches
// back, and about which nobody has done anything since.
type DeadLetters struct {
	Count  int64
	Recent []DeadLetter // the newest
}

// DeadLetter is one of them.
type DeadLetter struct {
	Group     string
	Topic     string
	Partition int
	Offset    int64
	EventID   string
	Time      time.Time
}

// Lag is how far behind a consumer is in a partition.
type Lag struct {
	Topic     string
	Partition int
	Records   int64
}

// Partition is what a consumer has said last about a partition.
type Partition struct {
	Lag

	Group string
	Owner string // the process that said it
	Time  time.Time
	Age   time.Duration
}

// Stale says that the lag is that of another time.
func (p Partition) Stale() bool { return p.Age > StaleAfter }

// Consumption says in one word what can be known about all partitions.
type Consumption string

// Words about consumption.
const (
	Unknown Consumption = "unknown" // no consumer has ever said anything
	Current Consumption = "current" // what is said about every partition is of this moment
	Stale   Consumption = "stale"   // at least one partition has not been heard of for too long
)

// Consumption sums the partitions up.
func (s Status) Consumption() Consumption {
	if len(s.Partitions) == 0 {
		return Unknown
	}
	for _, p := range s.Partitions {
		if p.Stale() {
			return Stale
		}
	}
	return Current
}

// Run is an operation that looked at everything, and its report without the
// things that it names.
type Run struct {
	ID     uuid.UUID
	State  preferences.OperationState
	End    time.Time
	Report json.RawMessage
}
