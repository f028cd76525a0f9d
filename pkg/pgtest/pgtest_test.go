package pgtest_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func connect(t *testing.T, at string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func count(t *testing.T, conn *pgx.Conn, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

const tables = `select count(*) from pg_tables where schemaname = 'public'`

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	one, two := connect(t, pgtest.New(t)), connect(t, pgtest.New(t))
	_, err := one.Exec(t.Context(), `insert into preference_lists (user_id, domain) values ('u', 'accounts')`)
	require.NoError(t, err)
	require.Equal(t, 1, count(t, one, `select count(*) from preference_lists`))
	require.Zero(t, count(t, two, `select count(*) from preference_lists`))
}

func TestAnEmptyDatabaseHasNoTables(t *testing.T) {
	t.Parallel()
	require.Zero(t, count(t, connect(t, pgtest.NewEmpty(t)), tables))
}

func TestManyTestsGetTheirDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	for range 12 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			require.NotZero(t, count(t, connect(t, pgtest.New(t)), tables))
		})
	}
}

func TestADatabaseGoesWithItsTestWhoeverUsesIt(t *testing.T) { //nolint:tparallel // the end of the subtest is what this one waits for
	t.Parallel()
	admin := connect(t, pgtest.NewEmpty(t))
	var name string
	var forgotten *pgx.Conn
	t.Run("a test that leaves a connection", func(t *testing.T) {
		at := pgtest.New(t)
		u, err := url.Parse(at)
		require.NoError(t, err)
		name = strings.TrimPrefix(u.Path, "/")
		forgotten, err = pgx.Connect(context.WithoutCancel(t.Context()), at)
		require.NoError(t, err)
	})
	require.Zero(t, count(t, admin, `select count(*) from pg_database where datname = $1`, name))
	require.Error(t, forgotten.Ping(t.Context()))
	_ = forgotten.Close(t.Context())
}

func TestAPrivateServerCanBeStoppedAndKilled(t *testing.T) {
	t.Parallel()
	s := pgtest.StartPrivate(t)
	at := s.URL()
	for _, end := range []func() error{s.Stop, s.Kill} {
		_, err := connect(t, at).Exec(t.Context(), `insert into preference_lists (user_id, domain) values (gen_random_uuid(), 'accounts')`)
		require.NoError(t, err)
		require.NoError(t, end())
		_, err = pgx.Connect(t.Context(), at)
		require.Error(t, err)
		require.NoError(t, s.Start(t.Context()))
	}
	require.Equal(t, 2, count(t, connect(t, at), `select count(*) from preference_lists`), "what was acknowledged is there")
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		pgtest.New(b)
	}
}
