package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// TestDoctorLooksAtADeploymentAsItsCallersDo: over HTTP, with the client that
// other programs have.
func TestDoctorLooksAtADeploymentAsItsCallersDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev := prefstest.StartDev(t, dir, "--ephemeral")
	examine := func(code int, args ...string) map[string]string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), prefstest.Binary(t, "prefsctl"), append([]string{"doctor", "--json", "--dir", dir}, args...)...).Output()
		if exit := new(exec.ExitError); code != 0 {
			require.True(t, errors.As(err, &exit), "%s", out)
			require.Equal(t, code, exit.ExitCode(), "%s", out)
		} else {
			require.NoError(t, err, "%s", out)
		}
		var said struct {
			Checks []struct{ Check, State string }
		}
		require.NoError(t, json.Unmarshal(out, &said))
		states := map[string]string{}
		for _, c := range said.Checks {
			states[c.Check] = c.State
		}
		return states
	}
	operator := dial(t, dev.APIURL, dev.Tokens.Admin)
	prefstest.Eventually(t, prefstest.Patience, "a consumer says how far it is", func() bool {
		s, err := operator.Status(t.Context())
		return err == nil && s.Consumption == "current"
	})
	found := examine(0)
	require.Equal(t, "OK", found["api"])
	require.Equal(t, "OK", found["status"])
	require.Equal(t, "SKIP", found["verification"])

	for range 2 { // by hand, and compared by hand as well
		begun, err := operator.Verify(t.Context())
		require.NoError(t, err)
		op, err := operator.Wait(t.Context(), begun.Name, nil)
		require.NoError(t, err)
		report, err := op.Response.AsVerifyReport()
		require.NoError(t, err)
		require.True(t, report.Sound)
		begun, err = operator.Reconcile(t.Context(), true)
		require.NoError(t, err)
		op, err = operator.Wait(t.Context(), begun.Name, nil)
		require.NoError(t, err)
		require.EqualValues(t, "succeeded", op.Metadata.State)
	}
	require.Equal(t, "OK", examine(0)["verification"])

	const amiss = 3
	require.Equal(t, "FAIL", examine(amiss, "--api-token=x")["status"])
	require.Equal(t, "FAIL", examine(amiss, "--api-url=http://127.0.0.1:1")["api"])
	require.Equal(t, "FAIL", examine(amiss, "--api-token="+dev.Tokens.Alice)["status"], "a user may not see that")
	info, err := operator.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, "accounts", info.Domains[0].Name)
}
