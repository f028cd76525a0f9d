package e2e

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// TestThePeopleOfMakeRunTakeItsBrokerAway: what is saved meanwhile waits in the
// outbox, and is delivered by itself once the broker is back.
func TestThePeopleOfMakeRunTakeItsBrokerAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev := prefstest.StartDev(t, dir, "--ephemeral")
	run := func(binary string, args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), prefstest.Binary(t, binary), append(args, "--dir", dir)...).Output()
		require.NoError(t, err, "%s", out)
		return out
	}
	unpublished := func() int {
		var outbox struct{ Unpublished int }
		require.NoError(t, json.Unmarshal(run("prefsctl", "outbox", "status", "--json"), &outbox))
		return outbox.Unpublished
	}
	drained := func() bool { return unpublished() == 0 }
	alice := open(t, dev.APIURL, dev.Tokens.Alice)
	alice.save(inOrder("acc-001", "acc-002"))
	prefstest.Eventually(t, prefstest.Patience, "the first event is out", drained)

	require.Contains(t, string(run("dev", "broker", "stop")), "stopped")
	require.Contains(t, string(run("dev", "broker", "stop")), "stopped", "twice is once")
	for range 3 {
		alice.save(inOrder("acc-002", "acc-001"))
		alice.save(inOrder("acc-001", "acc-002"))
	}
	require.Equal(t, 6, unpublished())

	require.Contains(t, string(run("dev", "broker", "start")), "runs again")
	run("prefsctl", "outbox", "status", "--watch")
	require.True(t, drained())
	report := dev.Stage(t).Settle(t)
	require.Equal(t, 7, report.Changes)
	require.Equal(t, 7, report.Events, "what the broker had before it was stopped it has still")

	run("dev", "broker", "stop")
	require.Zero(t, dev.Terminate(t), "an environment ends without its broker, too")
}
