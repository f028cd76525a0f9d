package migrations_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open uses the driver that pgtest registers.
func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func empty(t *testing.T) *sql.DB {
	t.Helper()
	return open(t, pgtest.NewEmpty(t))
}

func pending(t *testing.T, db *sql.DB) bool {
	t.Helper()
	is, err := migrations.HasPending(t.Context(), db)
	require.NoError(t, err)
	return is
}

func TestUpDownUpGivesTheSameSchema(t *testing.T) {
	t.Parallel()
	db := empty(t)
	nothing := dump(t, db)

	up, err := migrations.Up(t.Context(), db)
	require.NoError(t, err)
	require.NotEmpty(t, up)
	first := dump(t, db)
	require.Contains(t, strings.Join(first, "\n"), "preference_lists")

	down, err := migrations.DownTo(t.Context(), db, 0)
	require.NoError(t, err)
	require.Len(t, down, len(up))
	require.Empty(t, cmp.Diff(nothing, dump(t, db)), "down to 0 leaves something behind")

	again, err := migrations.Up(t.Context(), db)
	require.NoError(t, err)
	require.Len(t, again, len(up))
	require.Empty(t, cmp.Diff(first, dump(t, db)), "the second up made another schema")
}

func TestEveryStepGoesDownAndUpAlone(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t))
	whole := dump(t, db)
	steps, err := migrations.Status(t.Context(), db)
	require.NoError(t, err)
	for n := len(steps) - 1; n >= 0; n-- {
		down, err := migrations.Down(t.Context(), db)
		require.NoError(t, err)
		require.Len(t, down, 1)
		require.Equal(t, steps[n].Version, down[0].Version)
		require.Equal(t, steps[n].Name, down[0].Name)
		require.True(t, pending(t, db))
	}
	none, err := migrations.Down(t.Context(), db)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = migrations.Up(t.Context(), db)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(whole, dump(t, db)))
}

func TestFourReplicasMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	const replicas = 4
	applied := make([][]migrations.Step, replicas)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range replicas {
		db := open(t, url)
		group.Go(func() (err error) {
			applied[i], err = migrations.Up(ctx, db)
			return err
		})
	}
	require.NoError(t, group.Wait())
	known, err := migrations.Status(t.Context(), open(t, url))
	require.NoError(t, err)
	total := 0
	for _, steps := range applied {
		total += len(steps)
	}
	require.Equal(t, len(known), total, "every step is applied exactly once")
	require.False(t, pending(t, open(t, url)))
}

func TestPendingOnlyReads(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	db := open(t, url)
	before := dump(t, db)
	reader := open(t, url+"&default_transaction_read_only=on")
	require.True(t, pending(t, reader))
	require.Empty(t, cmp.Diff(before, dump(t, db)))

	_, err := migrations.Up(t.Context(), db)
	require.NoError(t, err)
	require.False(t, pending(t, reader))
}

func TestPendingNoticesAStepThatWasLeftOut(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t))
	_, err := db.ExecContext(t.Context(), `delete from goose_db_version where version_id = 2`)
	require.NoError(t, err)
	require.True(t, pending(t, db))
}

func TestStepsOfANewerReleaseAreNotPending(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t))
	_, err := db.ExecContext(t.Context(), `insert into goose_db_version (version_id, is_applied) values (99999, true)`)
	require.NoError(t, err)
	require.False(t, pending(t, db))
	steps, err := migrations.Status(t.Context(), db)
	require.NoError(t, err)
	last := steps[len(steps)-1]
	require.Equal(t, int64(99999), last.Version)
	require.Empty(t, last.Name)
	none, err := migrations.Up(t.Context(), db)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestStatusTellsWhen(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	db := open(t, url+"&timezone=Asia/Kolkata")
	steps, err := migrations.Status(t.Context(), db)
	require.NoError(t, err)
	for i, step := range steps {
		require.Equal(t, int64(i)+1, step.Version)
		require.True(t, step.Pending(), step.Name)
	}
	begin := time.Now()
	_, err = migrations.Up(t.Context(), db)
	require.NoError(t, err)
	steps, err = migrations.Status(t.Context(), db)
	require.NoError(t, err)
	for _, step := range steps {
		require.WithinDuration(t, begin, step.AppliedAt, time.Minute, step.Name)
	}
}

func TestTheSessionIsGivenBackAsItWas(t *testing.T) {
	t.Parallel()
	db := empty(t)
	db.SetMaxOpenConns(1)
	_, err := migrations.Up(t.Context(), db)
	require.NoError(t, err)
	var timeout, zone string
	var locks int
	err = db.QueryRowContext(t.Context(), `select current_setting('lock_timeout'), current_setting('timezone'),
		(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())`).Scan(&timeout, &zone, &locks)
	require.NoError(t, err)
	require.Equal(t, "0", timeout)
	require.Equal(t, "UTC", zone)
	require.Zero(t, locks)
}

// beforeOperations is the last step without the table that a reader holds.
const beforeOperations = 3

func TestAStepGivesWayAndTriesAgain(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t))
	reader, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = reader.Rollback() }()
	_, err = reader.ExecContext(t.Context(), `select 1 from operations`)
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() {
		_, err := migrations.DownTo(t.Context(), db, beforeOperations)
		done <- err
	}()
	gaveWay(t, db)
	require.NoError(t, reader.Rollback())
	require.NoError(t, <-done)
}

// gaveWay waits until a statement has queued for the table and was told off.
func gaveWay(t *testing.T, db *sql.DB) {
	t.Helper()
	const waiting = `select exists (select 1 from pg_locks where relation = 'operations'::regclass and not granted)`
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seen := false; ; {
		var now bool
		require.NoError(t, db.QueryRowContext(ctx, waiting).Scan(&now))
		if seen && !now {
			return
		}
		seen = seen || now
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no statement waited for the table and gave way")
		}
	}
}

func TestACancelledMigrationEndsAndLeavesNoLock(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.New(t))
	reader, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = reader.Rollback() }()
	_, err = reader.ExecContext(t.Context(), `select 1 from operations`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = migrations.DownTo(ctx, db, beforeOperations)
	require.Error(t, err)
	require.NoError(t, reader.Rollback())
	_, err = migrations.DownTo(t.Context(), db, beforeOperations)
	require.NoError(t, err)
}
