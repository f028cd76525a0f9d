package devpg_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/devpg"
)

func TestAStandbyFollowsAndTakesOver(t *testing.T) {
	t.Parallel()
	primary := start(t, devpg.Options{Database: "app"})
	do(t, primary.URL(), "create table notes (n int)")
	standby, err := primary.Standby(t.Context(), devpg.Options{Database: "app"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Close()) })

	do(t, primary.URL(), "insert into notes values (1)")
	require.Eventually(t, func() bool { return ask(t, standby.URL(), "select count(*)::text from notes") == "1" }, 30*time.Second, 10*time.Millisecond)
	_, err = connect(t, standby.URL()).Exec(t.Context(), "insert into notes values (2)")
	require.ErrorContains(t, err, "read-only")

	require.NoError(t, primary.Kill())
	require.NoError(t, standby.Promote(t.Context()))
	do(t, standby.URL(), "insert into notes values (2)")
	require.NoError(t, standby.Stop())
	_, err = standby.Standby(t.Context(), devpg.Options{})
	require.ErrorContains(t, err, "pg_basebackup")
}
