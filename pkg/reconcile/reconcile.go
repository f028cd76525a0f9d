// Package reconcile compares what lists refer to with what the owners of those
// things know. It is the safety net below their events: what an event that never
// came has left behind is found and cleaned.
//
// It takes items out of people's lists on the word of another service, so it
// believes slowly. Only what the owner names as missing, in two runs some time
// apart, is cleaned. A look-up that fails ends the run, and so does a share of
// missing entities that no ordinary day explains: neither leaves anything behind.
package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Directory is the port to an owner of entities; *directory.Client does it.
type Directory interface {
	// Missing returns those of the ids that the owner says it does not have. An
	// error says nothing about any of them.
	Missing(ctx context.Context, ids []string) ([]string, error)
}

// Store is the port to what reconciliation reads and settles.
type Store interface {
	// Now is the database's time.
	Now(ctx context.Context) (time.Time, error)
	// Entities returns ids of a type that stand in lists, ascending, behind one.
	Entities(ctx context.Context, entityType, after string, limit int) ([]string, error)
	// Tombstones is like Entities for those that count as deleted since a time
	// before the given one.
	Tombstones(ctx context.Context, entityType, after string, before time.Time, limit int) ([]string, error)
	// Progressed saves how far a run is and says whether it was cancelled. It fails
	// with Aborted when another process has taken the run over.
	Progressed(ctx context.Context, h preferences.Held, done, total int64) (stopping bool, err error)
	// Settle takes in what a run has found, in one commit: it remembers the
	// sightings, opens a clean for those that are confirmed, and ends the run. It
	// returns the report as it is kept. It fails like Progressed.
	Settle(ctx context.Context, h preferences.Held, f Findings) (Report, error)
	// End ends a run that has settled nothing. It fails like Progressed.
	End(ctx context.Context, h preferences.Held, state preferences.OperationState, r Report, cause error) error
	// SetState is that of preferences.Store.
	SetState(ctx context.Context, s preferences.State) error
}

// Findings are what a run knows when it has asked about everything.
type Findings struct {
	At           time.Time     // before the first question
	ConfirmAfter time.Duration // between the two sightings that make an orphan
	Types        []string      // that were asked about
	Missing      []preferences.Entity
	Report       Report
}

// Report is the result of a run.
type Report struct {
	DryRun      bool   `json:"dryRun"`
	Processed   int64  `json:"processed"`   // entities that the owners were asked about
	Found       int64  `json:"found"`       // inconsistencies: missing, or deleted here alone
	Reconciled  int64  `json:"reconciled"`  // of those, what was put right
	Cleaned     int64  `json:"cleaned"`     // of those, what leaves every list
	Lifted      int64  `json:"lifted"`      // of those, what counts as deleted no more
	Failed      int64  `json:"failed"`      // of those, what could not be
	Unconfirmed int64  `json:"unconfirmed"` // of those, what waits for a second sighting, or is being cleaned already
	Exception   string `json:"exception,omitempty"`
	Clean       string `json:"clean,omitempty"` // the operation that cleans what is confirmed
	Entities    []Item `json:"entities"`        // the first of them
}

// Item is one inconsistency.
type Item struct {
	EntityType string `json:"entityType"`
	EntityID   string `json:"entityId"`
	Action     Action `json:"action"`
}

// Action says what was done about an inconsistency.
type Action string

// Actions.
const (
	Missing Action = "missing" // found for the first time, or too soon again; or the run is dry
	Cleaned Action = "cleaned" // confirmed: it leaves every list
	Lifted  Action = "lifted"  // it was deleted here, and the owner has it
)

// MaxItems bounds what a report names.
const MaxItems = 1000

// Add names an inconsistency, as long as there is room.
func (r *Report) Add(e preferences.Entity, a Action) {
	if len(r.Entities) < MaxItems {
		r.Entities = append(r.Entities, Item{e.Type, e.ID, a})
	}
}

// ReasonTooManyMissing says that an owner contradicted more than may be believed.
const ReasonTooManyMissing fault.Reason = "TOO_MANY_MISSING"

// Options are what a Reconciler is made of. Store and Directories are needed.
type Options struct {
	Store        Store
	Directories  map[string]Directory // by entity type
	MaxShare     float64              // of what was asked about that may be missing; default 0.05
	ConfirmAfter time.Duration        // between two sightings; default 10 minutes
	Observe      func(r Report)       // called with the report of each run; default: nothing
	Log          *slog.Logger         // of runs that are broken off; default: nowhere
}

// page is how many entities are looked at in one step.
const page = 500

// Reconciler does the operations of kind reconcile.
type Reconciler struct{ Options }

// New returns a reconciler.
func New(o Options) *Reconciler {
	const confirm = 10 * time.Minute
	if o.MaxShare == 0 {
		o.MaxShare = preferences.MissingShare
	}
	if o.ConfirmAfter == 0 {
		o.ConfirmAfter = confirm
	}
	if o.Observe == nil {
		o.Observe = func(Report) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Reconciler{o}
}

// run is one run on its way.
type run struct {
	*Reconciler
	held    preferences.Held
	request preferences.RunRequest
	f       Findings
	stopped bool
}

// Run implements operations.Work. A run that is interrupted begins again: it
// writes nothing before it has asked about everything, but that the owner knows
// what counts as deleted here.
func (c *Reconciler) Run(ctx context.Context, h preferences.Held, progressed func()) error {
	r := &run{Reconciler: c, held: h}
	if err := json.Unmarshal(h.Request, &r.request); err != nil {
		return fmt.Errorf("decode request of operation %s: %w", h.ID, err)
	}
	r.f.Report = Report{DryRun: r.request.DryRun, Entities: []Item{}}
	r.f.ConfirmAfter = c.ConfirmAfter
	var err error
	if r.f.At, err = c.Store.Now(ctx); err != nil {
		return err
	}
	err = r.ask(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.stopped:
		return c.end(ctx, h, preferences.Cancelled, r.f.Report, nil)
	case fault.ReasonOf(err) == fault.ReasonOwnerUnavailable, fault.ReasonOf(err) == ReasonTooManyMissing:
		r.f.Report.Exception = string(fault.ReasonOf(err))
		c.Log.WarnContext(ctx, "comparison with the owner was broken off, nothing was done", slog.String("operation", h.ID.String()),
			slog.String("reason", r.f.Report.Exception), slog.Int64("processed", r.f.Report.Processed), slog.Any("error", err))
		return c.end(ctx, h, preferences.Failed, r.f.Report, err)
	case err != nil:
		return err
	}
	progressed()
	crashpoint.Hit("findings.settling")
	report, err := c.Store.Settle(ctx, h, r.f)
	if err == nil {
		c.Observe(report)
	}
	return err
}

// GiveUp implements operations.Work.
func (c *Reconciler) GiveUp(ctx context.Context, h preferences.Held, cause error) (ended bool, err error) {
	return true, c.end(ctx, h, preferences.Failed, Report{Exception: string(fault.ReasonOf(cause)), Entities: []Item{}}, cause)
}

func (c *Reconciler) end(ctx context.Context, h preferences.Held, state preferences.OperationState, r Report, cause error) error {
	err := c.Store.End(ctx, h, state, r, cause)
	if err == nil {
		c.Observe(r)
	}
	return err
}

// ask asks the owners about everything, type by type.
func (r *run) ask(ctx context.Context) error {
	var present []preferences.Entity
	for _, entityType := range sorted(r.Directories) {
		r.f.Types = append(r.f.Types, entityType)
		listed := func(ctx context.Context, after string) ([]string, error) {
			return r.Store.Entities(ctx, entityType, after, page)
		}
		// A moment's lag between the owner's answers and its events is no reason to lift anything.
		before := r.f.At.Add(-r.ConfirmAfter)
		deleted := func(ctx context.Context, after string) ([]string, error) {
			return r.Store.Tombstones(ctx, entityType, after, before, page)
		}
		gone, err := r.walk(ctx, entityType, listed, true)
		if err != nil || r.stopped {
			return err
		}
		there, err := r.walk(ctx, entityType, deleted, false)
		if err != nil || r.stopped {
			return err
		}
		r.f.Missing, present = append(r.f.Missing, gone...), append(present, there...)
	}
	return r.lift(ctx, present)
}

// walk asks about every entity that next returns, page by page, and returns
// those of which the owner says something else than we do: that are in lists and
// missing there, or that count as deleted here and are not missing.
func (r *run) walk(ctx context.Context, entityType string, next func(context.Context, string) ([]string, error), listed bool) ([]preferences.Entity, error) {
	var found []preferences.Entity
	asked := 0
	for after := ""; ; {
		ids, err := next(ctx, after)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return found, r.believable(entityType, len(found), asked)
		}
		missing, err := r.Directories[entityType].Missing(ctx, ids)
		crashpoint.Hit("owner.asked")
		if err != nil {
			return nil, err
		}
		found = append(found, differing(entityType, ids, missing, listed)...)
		asked += len(ids)
		r.f.Report.Processed += int64(len(ids))
		if r.stopped, err = r.Store.Progressed(ctx, r.held, r.f.Report.Processed, r.f.Report.Processed); err != nil || r.stopped {
			return nil, err
		}
		after = ids[len(ids)-1]
	}
}

// believable refuses more differences than an ordinary day explains.
func (r *run) believable(entityType string, found, asked int) error {
	r.f.Report.Found += int64(found)
	if !preferences.Believable(int64(found), int64(asked), r.MaxShare) {
		return fault.New(fault.Conflict, ReasonTooManyMissing,
			"The owner contradicts us on %d of %d entities of type %s, which is more than may be believed: nothing was done.", found, asked, entityType)
	}
	return nil
}

// lift takes back that entities are deleted which their owner has.
func (r *run) lift(ctx context.Context, there []preferences.Entity) error {
	for _, e := range r.f.Missing {
		r.f.Report.Add(e, Missing)
	}
	for _, e := range there {
		r.f.Report.Add(e, Lifted)
		if r.request.DryRun {
			continue
		}
		err := r.Store.SetState(ctx, preferences.State{Entity: e, At: r.f.At, Source: r.held.Cause})
		if err != nil {
			return err
		}
		r.f.Report.Reconciled++
		r.f.Report.Lifted++
	}
	return nil
}

// differing are the ids that are missing, or those that are not.
func differing(entityType string, ids, missing []string, wanted bool) []preferences.Entity {
	gone := make(map[string]bool, len(missing))
	for _, id := range missing {
		gone[id] = true
	}
	var out []preferences.Entity
	for _, id := range ids {
		if gone[id] == wanted {
			out = append(out, preferences.Entity{Type: entityType, ID: id})
		}
	}
	return out
}

func sorted(directories map[string]Directory) []string {
	types := make([]string, 0, len(directories))
	for t := range directories {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}
