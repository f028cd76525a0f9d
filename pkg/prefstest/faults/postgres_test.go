package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// TestPostgreSQLThatIsCutAndRestartedDelaysAllAndLosesNothing: while users save,
// accounts are deleted and a bulk clean runs, connections are cut, and the server
// is stopped and started, and killed and started. Nobody gets another answer than
// 200 or 503, and what was answered with 200 is there.
func TestPostgreSQLThatIsCutAndRestartedDelaysAllAndLosesNothing(t *testing.T) {
	t.Parallel()
	const deletions, stop, kill = 60, 20, 40
	server := pgtest.StartPrivate(t)
	stage := prefstest.NewStageAt(t, server.URL(), kafkatest.InProcess(t))
	users := []string{"alice", "bob", "carol", "dave"}
	stage.Save(t, users, accounts(deletions+2)...)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	admin, err := postgres.Plain(server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	cut := func() {
		_, err := admin.ExecContext(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()")
		require.NoError(t, err)
	}
	load := stage.StartLoad(t, api.URL, prefstest.LoadOptions{Writers: 2, Users: 6, Accounts: deletions})
	load.Flow(t, 10)
	clean := stage.Clean(t, account(deletions), account(deletions+1))
	load.Excuse(true)
	for i := range deletions {
		stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", i), account(i), time.Now()))
		switch {
		case i == stop:
			require.NoError(t, server.Stop())
			require.Equal(t, http.StatusOK, prefstest.Status(api.AdminURL+"/livez"))
			require.Equal(t, http.StatusServiceUnavailable, prefstest.Status(api.AdminURL+"/readyz"))
			require.NoError(t, server.Start(t.Context()))
			load.Flow(t, 10)
		case i == kill:
			require.NoError(t, server.Kill())
			require.NoError(t, server.Start(t.Context()))
			load.Flow(t, 10)
		case i%4 == 0:
			prefstest.Eventually(t, prefstest.Patience, "a connection to cut", func() bool { return admin.PingContext(t.Context()) == nil })
			cut()
		}
	}
	api.AwaitReady(t, api.AdminURL+"/readyz")
	load.Flow(t, 50)
	stage.AwaitEnd(t, clean)
	saves := load.Check(t)
	report := stage.Settle(t)
	require.Equal(t, deletions+2, report.Cleans)
	require.Empty(t, stage.Topic(t, prefstest.DeadLetters), "an outage is no record's fault")
	require.Empty(t, stage.Entities(t, "alice"))
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d saves acknowledged", saves)
}
