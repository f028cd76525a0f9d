package prefstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

var operator = preferences.By{Actor: "operator", RequestID: "by-hand"}

// Clean opens a bulk clean of these accounts, as an operator does who does not
// wait for it.
func (s *Stage) Clean(tb testing.TB, accounts ...string) uuid.UUID {
	tb.Helper()
	entities := make([]preferences.Entity, len(accounts))
	for i, a := range accounts {
		entities[i] = preferences.Entity{Type: "account", ID: a}
	}
	o, err := s.prefs.BulkClean(tb.Context(), operator, entities, true, true)
	require.NoError(tb, err)
	return o.ID
}

// Cancel stops an operation, and takes back what it did if that is wanted. One
// that has ended is undone.
func (s *Stage) Cancel(tb testing.TB, id uuid.UUID, undo bool) {
	tb.Helper()
	_, err := s.prefs.CancelOperation(tb.Context(), id, operator, undo)
	require.NoError(tb, err)
}

// Reconcile opens a comparison of all lists with the owner, unless one is open.
func (s *Stage) Reconcile(tb testing.TB) uuid.UUID {
	tb.Helper()
	o, err := s.prefs.BeginRun(tb.Context(), operator, preferences.KindReconcile, preferences.RunRequest{})
	require.NoError(tb, err)
	return o.ID
}

// Overdue makes work that begins by the clock due for an hour.
func (s *Stage) Overdue(tb testing.TB, name string) {
	tb.Helper()
	_, err := s.admin.ExecContext(tb.Context(), "insert into schedules (name, last_run) values ($1, $2) on conflict (name) do update set last_run = $2",
		name, time.Now().Add(-time.Hour))
	require.NoError(tb, err)
}

// Operation is an operation as it stands.
func (s *Stage) Operation(tb testing.TB, id uuid.UUID) preferences.Operation {
	tb.Helper()
	o, err := s.prefs.Operation(tb.Context(), id)
	require.NoError(tb, err)
	return o
}

// AwaitEnd waits until nobody works on an operation any more, and returns it.
func (s *Stage) AwaitEnd(tb testing.TB, id uuid.UUID) (o preferences.Operation) {
	tb.Helper()
	Eventually(tb, Patience, "operation "+id.String()+" ends", func() bool {
		o = s.Operation(tb, id)
		return o.State.Ended()
	})
	return o
}

// Progress is how far the consumer has come with an event.
type Progress struct {
	Event   string
	Seen    bool // its state is in force
	Cleaned bool // and no list holds what it has deleted
}

// Progress asks how far the consumer has come with events of the owner.
func (s *Stage) Progress(ctx context.Context, events ...string) (all []Progress, err error) {
	rows, err := s.admin.QueryContext(ctx, `select e, exists (select 1 from inbox where event_id = e),
		exists (select 1 from operations where cause = 'event:' || e and finished_at is not null) from unnest($1::text[]) e`, events)
	if err != nil {
		return nil, fmt.Errorf("progress of events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p Progress
		if err := rows.Scan(&p.Event, &p.Seen, &p.Cleaned); err != nil {
			return nil, fmt.Errorf("progress of events: %w", err)
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// Disconnect has the server end connections, as many as there are up to a
// number, of those that bear a name, and returns how many there were.
func (s *Stage) Disconnect(ctx context.Context, application string, most int) (n int, err error) {
	err = s.admin.QueryRowContext(ctx, `select count(pg_terminate_backend(pid)) from (
		select pid from pg_stat_activity where datname = current_database() and application_name = $1 order by random() limit $2) a`, application, most).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("disconnect %s: %w", application, err)
	}
	return n, nil
}
