package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/crashpoint"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/verify"
)

var (
	_ reconcile.Store = (*Store)(nil)
	_ verify.Store    = (*Store)(nil)
)

// Now implements preferences.Store, reconcile.Store and reconcile.Calendar.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, run("now").first(&at)) })
	return at.UTC(), err
}

// Entities implements reconcile.Store and preferences.Store.
func (s *Store) Entities(ctx context.Context, entityType, after string, limit int) ([]string, error) {
	return s.texts(ctx, run("entities", entityType, after, limit))
}

// Tombstones implements reconcile.Store.
func (s *Store) Tombstones(ctx context.Context, entityType, after string, before time.Time, limit int) ([]string, error) {
	return s.texts(ctx, run("tombstonepage", entityType, after, before, limit))
}

// Orphans implements preferences.Store.
func (s *Store) Orphans(ctx context.Context, r preferences.OrphanRange) (found []preferences.Orphan, more bool, err error) {
	if len(r.Missing) == 0 {
		return nil, false, nil
	}
	err = s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		page := run("orphans", r.Domain, r.EntityType, r.Missing, r.Behind.EntityID, r.Behind.ID, r.Limit+1)
		return send(ctx, c, all(page, &found, pgx.RowToStructByPos[preferences.Orphan]))
	})
	if len(found) > r.Limit {
		return found[:r.Limit], true, err
	}
	return found, false, err
}

func (s *Store) texts(ctx context.Context, st step) ([]string, error) {
	var out []string
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, all(st, &out, pgx.RowTo[string])) })
	return out, err
}

// Progressed implements reconcile.Store.
func (s *Store) Progressed(ctx context.Context, h preferences.Held, done, total int64) (stopping bool, err error) {
	err = s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return owned(send(ctx, c, run("begin"), run("opsave", h.ID, h.Epoch, done, total, h.Lease.Seconds()).first(nil, &stopping), run(commit)))
	})
	return stopping, err
}

// End implements reconcile.Store.
func (s *Store) End(ctx context.Context, h preferences.Held, state preferences.OperationState, r reconcile.Report, cause error) error {
	return s.endRun(ctx, h, state, r, r.Processed, cause)
}

// EndVerify implements verify.Store.
func (s *Store) EndVerify(ctx context.Context, h preferences.Held, state preferences.OperationState, q verify.Quality, cause error) error {
	return s.endRun(ctx, h, state, q, int64(q.Lists), cause)
}

func (s *Store) endRun(ctx context.Context, h preferences.Held, state preferences.OperationState, report any, done int64, cause error) error {
	st, err := runEnd(h, state, report, done, cause)
	if err != nil {
		return err
	}
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return owned(send(ctx, c, run("begin"), st, run(commit)))
	})
}

func runEnd(h preferences.Held, state preferences.OperationState, report any, done int64, cause error) (step, error) {
	result, err := json.Marshal(report)
	if err != nil {
		return step{}, fmt.Errorf("encode report: %w", err)
	}
	failure, err := encodeCause(cause)
	return run("runend", h.ID, h.Epoch, string(state), string(result), failure, done), err
}

// Settle implements reconcile.Store.
func (s *Store) Settle(ctx context.Context, h preferences.Held, f reconcile.Findings) (report reconcile.Report, err error) {
	err = s.Update(ctx, func(ctx context.Context, open preferences.Tx) error {
		t, ok := open.(*tx)
		if !ok {
			return fmt.Errorf("a transaction of %T is not PostgreSQL's", open)
		}
		report, err = t.settle(ctx, h, f)
		return err
	})
	return report, err
}

func (t *tx) settle(ctx context.Context, h preferences.Held, f reconcile.Findings) (reconcile.Report, error) {
	report := f.Report
	var stopping bool
	if err := t.send(ctx, lockOperation(h, &stopping)); err != nil {
		return report, err
	}
	state := preferences.Succeeded
	switch {
	case stopping:
		state = preferences.Cancelled
	case !report.DryRun:
		var err error
		if report, err = t.reconcile(ctx, h, f); err != nil {
			return report, err
		}
	}
	st, err := runEnd(h, state, report, report.Processed, nil)
	if err != nil {
		return report, err
	}
	return report, t.send(ctx, st)
}

// reconcile remembers what is missing, and opens a clean for what was missing
// before.
func (t *tx) reconcile(ctx context.Context, h preferences.Held, f reconcile.Findings) (reconcile.Report, error) {
	types, ids := entityTexts(f.Missing)
	var confirmed []preferences.Entity
	err := t.send(ctx,
		run("sightingsgone", f.Types, types, ids),
		run("sightings", types, ids, f.At),
		all(run("sightingsconfirmed", types, ids, f.At, f.ConfirmAfter.Seconds()), &confirmed, pgx.RowToStructByPos[preferences.Entity]))
	crashpoint.Hit("sightings.noted")
	if err != nil {
		return f.Report, err
	}
	report := f.Report
	report.Cleaned = int64(len(confirmed))
	report.Reconciled += report.Cleaned
	report.Unconfirmed = int64(len(f.Missing) - len(confirmed))
	mark(report.Entities, confirmed)
	if len(confirmed) == 0 {
		return report, nil
	}
	clean := preferences.Cleaning{Held: preferences.Held{ID: uuid.Must(uuid.NewV7()), Kind: preferences.KindBulkClean, Actor: h.Actor}, Reorder: true}
	clean.Cause = "operation:" + clean.ID.String()
	for _, e := range confirmed {
		clean.Targets = append(clean.Targets, preferences.Target{Entity: e, StateAt: f.At})
	}
	report.Clean = "operations/" + clean.ID.String()
	err = t.OpenClean(ctx, clean)
	crashpoint.Hit("orphans.opened")
	return report, err
}

// mark says in a report what becomes of confirmed entities.
func mark(items []reconcile.Item, confirmed []preferences.Entity) {
	sure := make(map[preferences.Entity]bool, len(confirmed))
	for _, e := range confirmed {
		sure[e] = true
	}
	for i, it := range items {
		if it.Action == reconcile.Missing && sure[preferences.Entity{Type: it.EntityType, ID: it.EntityID}] {
			items[i].Action = reconcile.Cleaned
		}
	}
}

// Tick begins scheduled work, if nobody has since it was due: one of all
// replicas gets it. The first time that a name is seen begins nothing.
func (s *Store) Tick(ctx context.Context, name string, due time.Time, kind preferences.OperationKind, request json.RawMessage) (begun bool, err error) {
	id := uuid.Must(uuid.NewV7())
	err = s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		begun = false
		return send(ctx, c, run("begin"), run("schedulefirst", name), run("scheduletick", name, due, id, string(kind), "schedule:"+name,
			"operation:"+id.String(), string(request)).first(&begun), run(commit))
	})
	crashpoint.Hit("schedule.ticked")
	return begun, err
}
