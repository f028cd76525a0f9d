package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// Store is the port to what an operation of kind verify reads and leaves behind.
type Store interface {
	// Snapshot lets fn look at the database as it is now.
	Snapshot(ctx context.Context, fn func(Source) error) error
	// Progressed saves how far a run is and says whether it was cancelled. It fails
	// with Aborted when another process has taken the run over.
	Progressed(ctx context.Context, h preferences.Held, done, total int64) (stopping bool, err error)
	// EndVerify ends a run with its report. It fails like Progressed.
	EndVerify(ctx context.Context, h preferences.Held, state preferences.OperationState, q Quality, cause error) error
}

// Quality is the result of a run: what it looked at, and what is wrong with it.
type Quality struct {
	Sound      bool       `json:"sound"` // everything was looked at, and nothing is wrong
	Lists      int        `json:"lists"`
	Items      int        `json:"items"`
	Changes    int        `json:"changes"`
	Cleans     int        `json:"cleans"`
	Violations int        `json:"violations"`
	Invariants []Standing `json:"invariants"` // those that a database can show
}

// Standing is how one invariant stands.
type Standing struct {
	Invariant  string    `json:"invariant"`
	Promise    string    `json:"promise"`
	Violations int       `json:"violations"`
	Samples    []Finding `json:"samples"` // the first of them, without values of attributes
}

// shown is how many violations of an invariant a report names.
const shown = 10

// promises are what a database can show.
var promises = map[string]string{
	"I1":  "The orders of a list are 1 to n, or rise where gaps are shown, and no entity stands in it twice.",
	"I2":  "A deleted entity that was cleaned stands in no list.",
	"I3":  "The history of a list has every version that is kept, once.",
	"I4":  "Every version of a list has its event.",
	"I6":  "Every clean is announced, to its end.",
	"I7":  "What an event did and its mark in the inbox go together.",
	"I8":  "The history of a list replays to the list.",
	"I9":  "Nothing waits for longer than it should.",
	"I10": "No two lists, and no two items, share a tag.",
	"I11": "What was created less what was deleted is there.",
}

// Invariants names them, in their order.
func Invariants() []string { return slices.SortedFunc(maps.Keys(promises), byNumber) }

// quality sums findings up, invariant by invariant.
func quality(r Report) Quality {
	q := Quality{Lists: r.Lists, Items: r.Items, Changes: r.Changes, Cleans: r.Cleans, Invariants: []Standing{}}
	for _, name := range Invariants() {
		s := Standing{Invariant: name, Promise: promises[name], Violations: r.Broken[name], Samples: []Finding{}}
		for _, f := range r.Findings {
			if f.Invariant == name && len(s.Samples) < shown {
				s.Samples = append(s.Samples, f)
			}
		}
		q.Violations += s.Violations
		q.Invariants = append(q.Invariants, s)
	}
	q.Sound = q.Violations == 0
	return q
}

// unfinished sums up what was seen before a look was broken off.
func unfinished(r Report) Quality {
	q := quality(r)
	q.Sound = false
	return q
}

// byNumber sorts I2 before I10.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Runs does the operations of kind verify: it looks at the whole database as of
// one moment, and changes nothing.
type Runs struct {
	Store   Store
	Longer  time.Duration   // what may wait; default 5 minutes
	Observe func(q Quality) // called with the report of each run; default: nothing
}

const (
	defaultLonger = 5 * time.Minute
	savedEvery    = 5000 // lists
)

var errCancelled = errors.New("the run was cancelled")

// Run implements operations.Work. A run that is interrupted begins again: only
// what is seen as of one moment means anything.
func (c *Runs) Run(ctx context.Context, h preferences.Held, progressed func()) error {
	longer := c.Longer
	if longer == 0 {
		longer = defaultLonger
	}
	var report Report
	err := c.Store.Snapshot(ctx, func(src Source) (err error) {
		if report, err = Database(ctx, counted{src, func(lists int64) error { return c.saved(ctx, h, lists) }}); err != nil {
			return err
		}
		quiet, err := Quiet(ctx, src, longer)
		report.Add(quiet)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errCancelled):
		return c.Store.EndVerify(ctx, h, preferences.Cancelled, unfinished(report), nil)
	case err != nil:
		return err
	}
	progressed()
	q := quality(report)
	if err := c.Store.EndVerify(ctx, h, preferences.Succeeded, q, nil); err != nil {
		return err
	}
	if c.Observe != nil {
		c.Observe(q)
	}
	return nil
}

func (c *Runs) saved(ctx context.Context, h preferences.Held, lists int64) error {
	stopping, err := c.Store.Progressed(ctx, h, lists, lists)
	if err == nil && stopping {
		return errCancelled
	}
	return err
}

// GiveUp implements operations.Work.
func (c *Runs) GiveUp(ctx context.Context, h preferences.Held, cause error) (ended bool, err error) {
	return true, c.Store.EndVerify(ctx, h, preferences.Failed, unfinished(Report{}), fmt.Errorf("look at the database: %w", cause))
}

// counted says every now and then how many lists were read.
type counted struct {
	Source

	each func(lists int64) error
}

// Lists implements Source.
func (c counted) Lists(ctx context.Context) iter.Seq2[History, error] {
	return func(yield func(History, error) bool) {
		n := int64(0)
		for h, err := range c.Source.Lists(ctx) {
			if n++; err == nil && n%savedEvery == 1 {
				err = errors.Join(c.each(n), ctx.Err())
			}
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}
