package pgtest

import (
	"database/sql"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/devpg"
)

// TestTheDownloadedServerServes runs the schema on the version that machines
// without PostgreSQL get. Offline it cannot, which only CI takes for a failure.
func TestTheDownloadedServerServes(t *testing.T) {
	t.Parallel()
	s, err := devpg.Start(t.Context(), devpg.Options{Download: true})
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("offline? %v", err)
	}
	require.NoError(t, err)
	own(t, s)
	db, err := sql.Open("pgx", s.URL())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var version int
	require.NoError(t, db.QueryRowContext(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
	require.Equal(t, 18, version)
	pending, err := migrations.HasPending(t.Context(), db)
	require.NoError(t, err)
	require.False(t, pending)
	_, err = migrations.DownTo(t.Context(), db, 0)
	require.NoError(t, err)
}
