package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// shown is a list as its user sees it, ids and times aside.
func (b tab) shown(user string) string {
	b.t.Helper()
	var l prefstest.List
	require.NoError(b.t, b.send(http.StatusOK, http.MethodGet, "/preferences?domain=accounts&userId="+user, nil).JSON(&l))
	text := ""
	for _, p := range l.Preferences {
		text += fmt.Sprintf("%s:%d%s ", p.EntityID, p.Order, p.Attributes)
	}
	return text
}

// TestABulkCleanIsCancelledAndEveryListIsWhatItWas: 60 of the demo accounts are
// taken out of the lists of all demo users, which an operator stops and undoes.
func TestABulkCleanIsCancelledAndEveryListIsWhatItWas(t *testing.T) {
	t.Parallel()
	const users, accounts, cleaned = 60, 90, 60
	dir := t.TempDir()
	dev := prefstest.StartDev(t, dir, "--ephemeral", "--users", fmt.Sprint(users), "--accounts", fmt.Sprint(accounts))
	admin := open(t, dev.APIURL, dev.Tokens.Admin)
	before := make([]string, users)
	for n := range before {
		before[n] = admin.shown(fmt.Sprintf("user-%05d", n+1))
		require.NotEmpty(t, before[n])
	}
	var known struct {
		Accounts []struct{ ID string }
	}
	accountsTab := open(t, dev.AccountsURL, "")
	require.NoError(t, accountsTab.send(http.StatusOK, http.MethodGet, "/accounts", nil).JSON(&known))
	var entities []client.Entity
	for _, a := range known.Accounts[:cleaned] {
		entities = append(entities, client.Entity{Type: "account", ID: a.ID})
	}
	operator := dial(t, dev.APIURL, dev.Tokens.Admin)
	bulk, err := operator.BulkClean(t.Context(), entities)
	require.NoError(t, err)
	require.NotNil(t, bulk.Operation, "so many take long")

	prefsctl := func(args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), prefstest.Binary(t, "prefsctl"), append([]string{"--dir", dir, "operations"}, args...)...).Output()
		require.NoError(t, err, "%s", out)
		return out
	}
	var end struct {
		State string
		Undo  struct{ Done, Total, Restored int }
	}
	require.NoError(t, json.Unmarshal(prefsctl("cancel", bulk.Operation.Name, "--undo", "--watch", "--json"), &end))
	require.Equal(t, "compensated", end.State)
	require.Equal(t, end.Undo.Total, end.Undo.Done)
	for n := range before {
		require.Equal(t, before[n], admin.shown(fmt.Sprintf("user-%05d", n+1)))
	}

	// Once more, and to its end: an undo takes that back as well.
	bulk, err = operator.BulkClean(t.Context(), entities)
	require.NoError(t, err)
	op, err := operator.Wait(t.Context(), bulk.Operation.Name, nil)
	require.NoError(t, err)
	require.EqualValues(t, "succeeded", op.Metadata.State)
	prefsctl("watch", op.Name)
	changed := 0
	for n := range before {
		if admin.shown(fmt.Sprintf("user-%05d", n+1)) != before[n] {
			changed++
		}
	}
	require.Positive(t, changed)
	_, err = operator.Undo(t.Context(), op.Name)
	require.NoError(t, err)
	op, err = operator.Wait(t.Context(), op.Name, nil)
	require.NoError(t, err)
	require.EqualValues(t, "compensated", op.Metadata.State)
	require.EqualValues(t, changed, op.Metadata.Undo.Total)
	require.GreaterOrEqual(t, op.Metadata.Undo.Restored, int64(changed))
	for n := range before {
		require.Equal(t, before[n], admin.shown(fmt.Sprintf("user-%05d", n+1)))
	}

	var stand struct {
		Consumption string
		Consumers   []struct{ Lag int }
		Operations  struct{ Open, Failed int }
	}
	require.Eventually(t, func() bool {
		require.NoError(t, admin.send(http.StatusOK, http.MethodGet, "/status", nil).JSON(&stand))
		return stand.Consumption == "current" && stand.Operations.Open == 0
	}, 30*time.Second, 100*time.Millisecond)
	require.NotEmpty(t, stand.Consumers)
	require.Zero(t, stand.Operations.Failed)
	report := dev.Stage(t).Settle(t)
	require.GreaterOrEqual(t, report.Cleans, cleaned, "each account was announced at least once")
}
