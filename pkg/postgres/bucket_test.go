package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
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
// before it commits, and lets the account that it adds be deleted meanwhile. On
// a machine that is out of breath the writer may wait for longer than it wants
// to: then another one tries.
func deleteBehindAWriter(t *testing.T, h *house) {
	t.Helper()
	const tries = 10
	watch, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	defer func() { _ = watch.Close(t.Context()) }()
	for n := range tries {
		if h.deletedBehindAWriter(t, watch, fmt.Sprint("x-", n)) {
			return
		}
	}
	t.Errorf("the writer did not wait long enough, %d times", tries)
}

// deletedBehindAWriter reports false if the writer has given up.
func (h *house) deletedBehindAWriter(t *testing.T, watch *pgx.Conn, added string) bool {
	t.Helper()
	l := h.save(t, "u", "a").List
	block, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = block.Rollback(context.Background()) }() // unless it is over
	_, err = block.Exec(t.Context(), "insert into changes (list_id, version, action, actor, delta) values ($1, $2, 'block', 'test', '{}')", l.ID, l.Version+1)
	require.NoError(t, err)

	wrote := make(chan error, 1)
	go func() {
		_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("a", added))
		wrote <- err
	}()
	const waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = $1"
	await(t, watch, waits, "transactionid")

	deleted := make(chan error, 1)
	go func() { deleted <- h.delete(t.Context(), added) }()
	// It waits for the writer, as it must, or it does not wait at all.
	await(t, watch, "select ("+waits+") + (select count(*) from operations where cause = $2)", "advisory", "event:deletes-"+added)
	require.NoError(t, block.Rollback(t.Context()))
	err = <-wrote
	require.NoError(t, <-deleted)
	if fault.CodeOf(err) == fault.Unavailable {
		return false
	}
	require.NoError(t, err)
	return true
}

// delete delivers a deletion until it is taken in, as a consumer does.
func (h *house) delete(ctx context.Context, id string) error {
	for {
		_, _, err := h.EntityDeleted(ctx, delivery("deletes-"+id), account(id), time.Now())
		if fault.CodeOf(err) != fault.Unavailable {
			return err
		}
	}
}

// await polls until the query answers more than 0.
func await(t *testing.T, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n == 0; {
		require.NoError(t, conn.QueryRow(t.Context(), query, args...).Scan(&n))
		<-tick.C
	}
}
