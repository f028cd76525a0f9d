package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
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

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	t.Parallel()
	one, two := connect(t, pgtest.New(t)), connect(t, pgtest.New(t))
	_, err := one.Exec(t.Context(), `insert into preference_lists (user_id, domain) values ('u', 'accounts')`)
	require.NoError(t, err)
	require.Equal(t, 1, count(t, one, `select count(*) from preference_lists`))
	require.Zero(t, count(t, two, `select count(*) from preference_lists`))
}
