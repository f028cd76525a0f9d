package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestADeletionWaitsForAWriterThatHasLookedAlready(t *testing.T) {
	t.Parallel()
	h := openAt(t, pgtest.New(t))
	deleteBehindAWriter(t, h)
	require.Equal(t, []string{"a:1"}, h.shown(t, "u"))
}

// deleteBehindAWriter stops a writer after it has looked for tombstones and
// before it commits, and lets the account that it adds be deleted meanwhile.
func deleteBehindAWriter(t *testing.T, h *house) {
	t.Helper()
	l := h.save(t, "u", "a").List
	block, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), "insert into changes (list_id, version, action, actor, delta) values ($1, 2, 'block', 'test', '{}')", l.ID)
	require.NoError(t, err)

	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("a", "x"))
		if err != nil {
			t.Errorf("save: %v", err)
		}
	}()
	h.await(t, "select count(*) from pg_locks where not granted and locktype = 'transactionid'")

	deleted := make(chan struct{})
	go func() {
		defer close(deleted)
		if _, _, err := h.EntityDeleted(t.Context(), delivery("e1"), account("x"), time.Now()); err != nil {
			t.Errorf("delete: %v", err)
		}
	}()
	// It waits for the writer, as it must, or it does not wait at all.
	h.await(t, "select (select count(*) from pg_locks where not granted and locktype = 'advisory') + (select count(*) from operations)")
	require.NoError(t, block.Rollback(t.Context()))
	<-wrote
	<-deleted
}

// await polls until the query answers more than 0.
func (h *house) await(t *testing.T, query string) {
	t.Helper()
	watch, err := pgx.Connect(t.Context(), h.url)
	if err != nil {
		t.Errorf("await: %v", err)
		return
	}
	defer func() { _ = watch.Close(t.Context()) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n == 0; {
		if err := watch.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Errorf("await: %v", err)
			return
		}
		<-tick.C
	}
}
