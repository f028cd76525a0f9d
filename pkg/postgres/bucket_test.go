package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestADeletionWaitsForAWriterThatHasLookedAlready(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.untilInTime(t, h.deletedBehindAWriter)
	require.Equal(t, []string{"a:1"}, h.shown(t, "u"))
}

// waits counts who waits for a lock of a kind.
const waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = $1"

// untilInTime tells a story in which somebody waits for a lock. On a machine that
// is out of breath they may wait for longer than they want to; the story reports
// that, and is told again, of another account.
func (h *house) untilInTime(t *testing.T, story func(t *testing.T, watch *pgx.Conn, account string) (inTime bool)) {
	t.Helper()
	const tries = 10
	watch, err := pgx.Connect(t.Context(), h.url)
	require.NoError(t, err)
	defer func() { _ = watch.Close(t.Context()) }()
	for n := range tries {
		if story(t, watch, fmt.Sprint("x-", n)) {
			return
		}
	}
	t.Errorf("nobody waited long enough, %d times", tries)
}

// deletedBehindAWriter stops a writer after it has looked for tombstones and
// before it commits, and lets the account that it adds be deleted meanwhile.
func (h *house) deletedBehindAWriter(t *testing.T, watch *pgx.Conn, added string) bool {
	t.Helper()
	release := h.block(t, nextVersion, h.save(t, "u", "a").List.ID)

	wrote := make(chan error, 1)
	go func() {
		_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("a", added))
		wrote <- err
	}()
	await(t, watch, waits, "transactionid")

	deleted := make(chan error, 1)
	go func() { deleted <- h.delete(t.Context(), added) }()
	// It waits for the writer, as it must, or it does not wait at all.
	await(t, watch, "select ("+waits+") + (select count(*) from operations where cause = $2)", "advisory", "event:deletes-"+added)
	release()
	err := <-wrote
	require.NoError(t, <-deleted)
	if fault.CodeOf(err) == fault.Unavailable {
		return false
	}
	require.NoError(t, err)
	return true
}

// What a story has somebody wait for: the next version of a list, and the state
// of an entity.
const (
	nextVersion = `insert into changes (list_id, version, action, actor, delta)
		select list_id, version + 1, 'block', 'test', '{}' from preference_lists where list_id = $1`
	stateOf = "insert into deleted_entities (entity_type, entity_id, deleted, state_at, source) values ('account', $1, false, 'epoch', 'test')"
)

// block takes a key of a table that somebody else will want, until release.
func (h *house) block(t *testing.T, insert string, key any) (release func()) {
	t.Helper()
	tx, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	tag, err := tx.Exec(t.Context(), insert, key)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
	release = sync.OnceFunc(func() { require.NoError(t, tx.Rollback(context.Background())) })
	t.Cleanup(release)
	return release
}

func TestAWriterThatWaitedForADeletionSeesIt(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.untilInTime(t, h.wroteBehindADeletion)
	require.Equal(t, []string{"a:1", "b:2"}, h.shown(t, "u"))
}

// wroteBehindADeletion stops a deletion before it commits, and lets a writer come
// meanwhile that adds the account.
func (h *house) wroteBehindADeletion(t *testing.T, watch *pgx.Conn, added string) bool {
	t.Helper()
	h.save(t, "u", "a")
	release := h.block(t, stateOf, added)
	deleted := make(chan error, 1)
	go func() { deleted <- h.delete(t.Context(), added) }()
	await(t, watch, waits, "transactionid")

	wrote := make(chan error, 1)
	var res preferences.Result
	go func() {
		var err error
		res, err = h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("a", added, "b"))
		wrote <- err
	}()
	// It waits for the deletion, as it must, or it does not wait at all.
	await(t, watch, "select ("+waits+") + (select count(*) from preferences where entity_id = $2)", "advisory", added)
	release()
	err := <-wrote
	require.NoError(t, <-deleted)
	if fault.CodeOf(err) == fault.Unavailable {
		return false
	}
	require.NoError(t, err)
	require.Equal(t, []preferences.Entity{account(added)}, res.Skipped, "the writer has waited, and has not seen why")
	return true
}

func TestARestorationWaitsForTheChunkThatHasLookedAlready(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.untilInTime(t, h.restoredBehindAChunk)
}

// restoredBehindAChunk stops a chunk after it has found the account deleted and
// before it commits, and lets the account be restored meanwhile.
func (h *house) restoredBehindAChunk(t *testing.T, watch *pgx.Conn, restored string) bool {
	t.Helper()
	l := h.save(t, "u", "a", restored).List
	free := h.hold(t, "u") // the clean is left to the runner
	h.remove(t, "deletes-"+restored, restored, time.Now())
	free()
	held, found := h.claim(t, "runner", time.Minute)
	require.True(t, found)

	release := h.block(t, nextVersion, l.ID)
	swept := make(chan error, 1)
	go func() { swept <- h.Run(t.Context(), held, nothing) }()
	await(t, watch, waits, "transactionid")
	back := make(chan error, 1)
	go func() {
		_, err := h.EntityRestored(t.Context(), delivery("restores-"+restored), account(restored), time.Now())
		back <- err
	}()
	const done = "select count(*) from deleted_entities where entity_id = $2 and not deleted"
	await(t, watch, "select ("+waits+") + ("+done+")", "advisory", restored)
	early := h.count(t, strings.ReplaceAll(done, "$2", "$1"), restored)
	release()
	err := errors.Join(<-swept, <-back)
	require.Zero(t, early, "a restoration that is acknowledged takes effect at once")
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
