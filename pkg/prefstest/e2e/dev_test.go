package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestASecondStartKeepsWhatWasSaved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} { // the account that root's PostgreSQL runs as passes through
		require.NoError(t, os.Chmod(path, 0o755))
	}
	dev := prefstest.StartDev(t, dir)
	alice := open(t, dev.APIURL, dev.Tokens.Alice)
	saved := alice.save(inOrder("acc-002", "acc-001"))
	alice.raw.Close()
	require.Zero(t, dev.Terminate(t))
	require.NoFileExists(t, filepath.Join(dir, "dev.json"), "a file that promises what is gone misleads")

	dev = prefstest.StartDev(t, dir)
	alice = open(t, dev.APIURL, dev.Tokens.Alice)
	require.Equal(t, saved.Etag, alice.list().Etag)
	bob := open(t, dev.APIURL, dev.Tokens.Bob)
	require.Zero(t, bob.list().TotalSize)
	require.NotEqual(t, saved.Etag, bob.list().Etag)
	require.Zero(t, dev.Terminate(t))
}

func mortal(t *testing.T) kafkatest.Mortal {
	t.Helper()
	b, ok := kafkatest.InProcessMortal(t).(kafkatest.Mortal)
	require.True(t, ok)
	return b
}

func TestASaveNeedsNoBroker(t *testing.T) {
	t.Parallel()
	broker := mortal(t)
	stage := prefstest.NewStage(t, broker)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	alice := open(t, api.URL, stage.Token(t, "alice"))
	alice.save(inOrder("acc-001", "acc-002"))

	broker.Kill()
	for range 5 {
		alice.save(inOrder("acc-002", "acc-001"))
		alice.save(inOrder("acc-001", "acc-002"))
	}
	alice.list()
	health := open(t, api.AdminURL, "")
	health.send(http.StatusOK, http.MethodGet, "/readyz", nil)

	broker.Revive(t)
	report := stage.Settle(t)
	require.Equal(t, 11, report.Changes)
	require.Equal(t, 11, report.Events)
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
}

func TestSIGTERMLosesNothing(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, mortal(t))
	api := stage.API(t, nil)
	alice := dial(t, api.URL, stage.Token(t, "alice"), func(c *client.Config) { c.Attempts = 1 })
	answers := make(chan int, 1)
	go func() {
		n := 0
		for {
			order := inOrder("acc-001", "acc-002")
			if n%2 == 1 {
				order = inOrder("acc-002", "acc-001")
			}
			if _, err := alice.Save(t.Context(), "accounts", order); err != nil {
				answers <- n
				return
			}
			n++
		}
	}()
	prefstest.Eventually(t, prefstest.Patience, "a few saves", func() bool {
		report := stage.Look(t)
		return report.Changes > 20
	})
	require.Zero(t, api.Terminate(t), "it drains and ends")
	acknowledged := <-answers

	api = stage.API(t, api)
	report := stage.Settle(t)
	require.GreaterOrEqual(t, report.Changes, acknowledged)
	require.LessOrEqual(t, report.Changes, acknowledged+1)
	require.Zero(t, api.Terminate(t))
}
