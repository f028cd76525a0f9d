package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// History implements preferences.Store.
func (s *Store) History(ctx context.Context, r preferences.HistoryRange) ([]preferences.Change, bool, error) {
	p := page{limit: r.Limit}
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, p.of(run("history", r.UserID, r.Domain, r.Below, r.Limit+1, preferences.MaxHistoryBytes)))
	})
	return p.changes, p.more, err
}

// Since implements preferences.Store. The history is read after the list, so it
// may know a version more.
func (s *Store) Since(ctx context.Context, userID, domain string, h preferences.HistorySince) (preferences.List, []preferences.Change, bool, error) {
	var l preferences.List
	key := preferences.Key{UserID: userID, Domain: domain}
	p, known := page{limit: h.Limit}, s.lists.find(key)
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, s.readList(key, known, &l), p.of(run("since", userID, domain, h.Version, h.Limit+1, preferences.MaxHistoryBytes)))
	})
	if err == nil {
		s.lists.keep(l)
	}
	p.changes = slices.DeleteFunc(p.changes, func(c preferences.Change) bool { return c.Version > l.Version })
	return l, p.changes, p.more, err
}

// page takes changes from rows until it is full.
type page struct {
	limit   int
	changes []preferences.Change
	bytes   int
	more    bool // rows were left
}

// of lets the page take the rows of a step, instead of those it has.
func (p *page) of(st step) step {
	st.read = func(rows pgx.Rows) error {
		*p = page{limit: p.limit}
		for !p.more && rows.Next() {
			if err := p.take(rows); err != nil {
				return err
			}
		}
		return nil
	}
	return st
}

func (p *page) take(rows pgx.Rows) error {
	var c preferences.Change
	var request *string
	var operation *uuid.UUID
	var delta []byte
	if err := rows.Scan(&c.ListID, &c.UserID, &c.Domain, &c.Version, &c.Time, &c.Action, &c.Actor, &request, &operation, &c.Forced, &c.Gaps, &delta); err != nil {
		return err
	}
	p.bytes += len(delta)
	if p.more = len(p.changes) == p.limit || len(p.changes) > 0 && p.bytes > preferences.MaxHistoryBytes; p.more {
		return nil
	}
	c.Time, c.Delta = c.Time.UTC(), delta
	if request != nil {
		c.RequestID = *request
	}
	if operation != nil {
		c.Operation = *operation
	}
	p.changes = append(p.changes, c)
	return nil
}

// Audit implements preferences.Store.
func (s *Store) Audit(ctx context.Context, r preferences.AuditRange) ([]preferences.AuditEvent, bool, error) {
	changes, err := s.auditedChanges(ctx, r)
	if err != nil {
		return nil, false, err
	}
	events := make([]preferences.AuditEvent, 0, r.Limit)
	for i := range changes.changes {
		events = append(events, preferences.AuditEvent{Change: &changes.changes[i]})
	}
	if r.Operations() {
		operations, err := s.auditedOperations(ctx, r)
		if err != nil {
			return nil, false, err
		}
		events = merged(events, operations, changes.more)
	}
	if len(events) > r.Limit {
		return events[:r.Limit], true, nil
	}
	return events, changes.more, nil
}

// auditedChanges reads the changes of a user in one step, and those of all users
// in windows that widen: the index by time is good for finding a range, and for
// sorting nothing.
func (s *Store) auditedChanges(ctx context.Context, r preferences.AuditRange) (page, error) {
	if r.UserID != "" {
		p := page{limit: r.Limit}
		err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
			b := r.Behind
			return send(ctx, c, p.of(run("audituser", r.UserID, r.From, b.Time, b.List, b.Version, r.Domain, r.Actor, r.Limit+1, preferences.MaxHistoryBytes)))
		})
		return p, err
	}
	const firstWindow, widening = time.Minute, 8
	var found page
	behind := r.Behind
	for window := firstWindow; ; window *= widening {
		from := behind.Time.Add(-window)
		last := !from.After(r.From) || window > preferences.MaxAuditRange
		if last {
			from = r.From
		}
		p := page{limit: r.Limit - len(found.changes)}
		err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
			return send(ctx, c, p.of(run("auditrange", from, behind.Time, behind.List, behind.Version, r.Domain, r.Actor, p.limit+1, preferences.MaxHistoryBytes)))
		})
		if err != nil {
			return page{}, err
		}
		found.changes, found.bytes = append(found.changes, p.changes...), found.bytes+p.bytes
		if found.more = p.more; last || p.more || found.bytes > preferences.MaxHistoryBytes {
			found.more = p.more || !last
			return found, nil
		}
		behind = preferences.AuditPosition{Time: from}
	}
}

func (s *Store) auditedOperations(ctx context.Context, r preferences.AuditRange) ([]preferences.AuditEvent, error) {
	var out []preferences.AuditEvent
	st := all(run("auditoperations", r.From, r.Behind.Time, r.Behind.Operation, r.Actor, r.Limit+1), &out, func(row pgx.CollectableRow) (preferences.AuditEvent, error) {
		var o preferences.AuditOperation
		var request []byte
		err := row.Scan(&o.ID, &o.Kind, &o.State, &o.Actor, &o.Time, &request, &o.Call)
		o.Time, o.Request = o.Time.UTC(), request
		return preferences.AuditEvent{Operation: &o}, err
	})
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, st) })
	return out, err
}

// merged puts operations between changes. Behind the last change, while there
// are more of them, nothing is known of what comes next.
func merged(changes, operations []preferences.AuditEvent, more bool) []preferences.AuditEvent {
	if more {
		end := changes[len(changes)-1].Change.Time
		operations = slices.DeleteFunc(operations, func(e preferences.AuditEvent) bool { return !e.Operation.Time.After(end) })
	}
	out := append(changes, operations...)
	slices.SortStableFunc(out, func(a, b preferences.AuditEvent) int { return b.Position().Time.Compare(a.Position().Time) })
	return out
}
