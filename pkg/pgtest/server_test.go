package pgtest

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func names(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `select datname from pg_database where starts_with(datname, $1)`, namePrefix)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	found := []string{}
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		found = append(found, name)
	}
	require.NoError(t, rows.Err())
	return found
}

func TestAGivenServerIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	given := StartPrivate(t)
	admin, err := sql.Open("pgx", given.URL())
	require.NoError(t, err)
	defer func() { require.NoError(t, admin.Close()) }()
	young := fmt.Sprintf("%s%d_aaaaaaaa_1", namePrefix, time.Now().Unix())
	for _, name := range []string{young, namePrefix + "1700000000_bbbbbbbb_1"} {
		_, err := admin.ExecContext(t.Context(), `create database `+name)
		require.NoError(t, err)
	}

	s, err := startServer(t.Context(), given.URL())
	require.NoError(t, err)
	require.Equal(t, []string{young}, names(t, admin), "what another run is using stays, what one has left goes")
	template, err := s.template(t.Context())
	require.NoError(t, err)
	again, err := s.template(t.Context())
	require.NoError(t, err)
	require.Equal(t, template, again)
	clone, err := s.create(t.Context(), template)
	require.NoError(t, err)
	require.NoError(t, s.drop(t.Context(), clone))
	require.NoError(t, s.close(t.Context()))
	require.Equal(t, []string{young}, names(t, admin))
	require.NoError(t, given.Start(t.Context()), "it still runs")
}

func TestAServerThatCannotBeReachedIsAnError(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ url, want string }{
		"nobody there": {"postgres://prefs:secret@127.0.0.1:1/prefs?sslmode=disable", "reach the test server"},
		"no URL":       {"host=localhost password=secret", "not a URL"},
		"another kind": {"mysql://prefs:secret@127.0.0.1/prefs", "not a URL"},
		"broken":       {"postgres://prefs:secret@127.0.0.1:port/prefs", "not a URL"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := startServer(t.Context(), test.url)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestOnlyATestMainCanOpenTheServer(t *testing.T) {
	t.Parallel()
	var l lazy
	_, err := l.server(t.Context())
	require.ErrorContains(t, err, "TestMain that calls pgtest.Main")
	l.begin()
	require.NoError(t, l.end(t.Context()), "a run without a database starts none")
}
