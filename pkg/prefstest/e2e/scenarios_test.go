package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestTheScenariosOfTheProduct(t *testing.T) {
	t.Parallel()
	dev := prefstest.StartDev(t, t.TempDir(), "--ephemeral")
	alice := open(t, dev.APIURL, dev.Tokens.Alice)
	accounts := open(t, dev.AccountsURL, "")

	firstTime(t, alice, accounts)
	update(t, alice)
	load(t, alice, accounts)
	accountDeleted(t, alice, accounts, dev)
	accountAdded(t, alice, accounts)
	twoTabs(t, alice, open(t, dev.APIURL, dev.Tokens.Alice))
	nothingLeaks(t, dev)
	require.Zero(t, dev.Terminate(t), "it stops in order")
}

// firstTime is scenario 1: an empty list, the accounts in their default order,
// and a first save.
func firstTime(t *testing.T, alice, accounts tab) {
	t.Helper()
	empty := alice.list()
	require.Zero(t, empty.TotalSize)
	require.NotNil(t, empty.Preferences)
	var known struct{ Accounts []struct{ ID, Name string } }
	require.NoError(t, accounts.send(http.StatusOK, http.MethodGet, "/accounts", nil).JSON(&known))
	require.GreaterOrEqual(t, len(known.Accounts), 4)
	require.Equal(t, "acc-001", known.Accounts[0].ID)

	saved := alice.save(with(client.Attributes{}, inOrder("acc-001", "acc-003", "acc-004", "acc-002")))
	require.Equal(t, []string{"acc-001:1", "acc-003:2", "acc-004:3", "acc-002:4"}, orders(saved.Preferences))
	require.Equal(t, client.Summary{Created: 4, Total: 4}, saved.Summary)
	again := alice.save(inOrder("acc-001", "acc-003", "acc-004", "acc-002"))
	require.Equal(t, client.Summary{Total: 4}, again.Summary, "a repeated save is harmless")
	require.Equal(t, saved.Etag, again.Etag)
}

// update is scenario 2: a favourite, a new account and another order.
func update(t *testing.T, alice tab) {
	t.Helper()
	favourite := alice.list().Preferences[1]
	marked := client.Attributes{"isFavorite": true}
	_, err := alice.Change(t.Context(), favourite.ID, client.Patch{Attributes: &marked})
	require.NoError(t, err)
	wanted := with(client.Attributes{}, inOrder("acc-003", "acc-005", "acc-001", "acc-004", "acc-002"))
	wanted[0].Attributes = &marked
	saved := alice.save(wanted)
	require.Equal(t, client.Summary{Created: 1, Updated: 4, Total: 5}, saved.Summary)
	require.Equal(t, []string{"acc-003:1", "acc-005:2", "acc-001:3", "acc-004:4", "acc-002:5"}, orders(saved.Preferences))
	require.Equal(t, marked, saved.Preferences[0].Attributes)
	require.Equal(t, favourite.ID, saved.Preferences[0].ID, "an item keeps its id")
}

// load is scenario 3: read once, then only ask whether it changed.
func load(t *testing.T, alice, accounts tab) {
	t.Helper()
	const path = "/preferences?domain=accounts"
	first := alice.send(http.StatusOK, http.MethodGet, path, nil)
	require.Equal(t, "private, max-age=300", first.Header.Get("Cache-Control"))
	require.Contains(t, first.Header.Get("Vary"), "Authorization")
	same := alice.send(http.StatusNotModified, http.MethodGet, path, nil, "If-None-Match", first.Header.Get("ETag"))
	require.Empty(t, same.Body)
	require.Equal(t, first.Header.Get("ETag"), same.Header.Get("ETag"))
	alice.send(http.StatusOK, http.MethodGet, path, nil, "If-None-Match", "")
	accounts.send(http.StatusOK, http.MethodGet, "/accounts?ids=acc-001,acc-999", nil)
}

// accountDeleted is scenario 4A: the owner deletes an account, it leaves the
// list, the gap closes, everybody is told, and it does not come back.
func accountDeleted(t *testing.T, alice, accounts tab, dev *prefstest.Dev) {
	t.Helper()
	accounts.send(http.StatusNoContent, http.MethodDelete, "/accounts/acc-003", nil)
	after := alice.gone("acc-003")
	require.Equal(t, []string{"acc-005:1", "acc-001:2", "acc-004:3", "acc-002:4"}, orders(after.Preferences))

	var told struct {
		EventType string
		Data      struct {
			EntityID      string
			AffectedUsers []string
			Final         bool
			TotalDeleted  int
		}
	}
	prefstest.Eventually(t, prefstest.Patience, "preferences.cleaned arrives", func() bool {
		records := prefstest.ReadTopic(t, dev.Brokers, prefstest.Cleaned)
		return len(records) > 0 && json.Unmarshal(records[0].Value, &told) == nil
	})
	require.Equal(t, "preferences.cleaned", told.EventType)
	require.Equal(t, "acc-003", told.Data.EntityID)
	require.Equal(t, []string{"alice"}, told.Data.AffectedUsers)
	require.True(t, told.Data.Final)

	stale := alice.save(inOrder("acc-003", "acc-005", "acc-001", "acc-004", "acc-002"))
	require.Equal(t, "acc-003", stale.Skipped[0].EntityID, "a stale tab cannot bring it back")
	require.Equal(t, entities(after.Preferences), entities(stale.Preferences))
	_, err := open(t, dev.APIURL, dev.Tokens.System).Clean(t.Context(), "account", "acc-003")
	require.NoError(t, err)
	_, err = alice.Clean(t.Context(), "account", "acc-005")
	require.ErrorIs(t, err, client.ErrDenied)
}

// accountAdded is scenario 4B: a new account changes nobody's list; a restored
// one can be added again.
func accountAdded(t *testing.T, alice, accounts tab) {
	t.Helper()
	before := alice.list()
	accounts.send(http.StatusCreated, http.MethodPost, "/accounts", map[string]any{"name": "Global Account G", "type": "enterprise"})
	accounts.send(http.StatusOK, http.MethodPost, "/accounts/acc-003/restore", nil)
	prefstest.Eventually(t, prefstest.Patience, "the restored account can be added", func() bool {
		return len(alice.save(inOrder("acc-005", "acc-001", "acc-004", "acc-002", "acc-003")).Skipped) == 0
	})
	alice.save(inOrder(entities(before.Preferences)...))
}

// twoTabs is scenario 5: one tab reorders, the other marks a favourite.
func twoTabs(t *testing.T, one, two tab) {
	t.Helper()
	seen := two.list()
	item := seen.Preferences[0]
	one.save(inOrder("acc-001", "acc-005", "acc-004", "acc-002"), client.IfMatch(seen.Etag))

	var refused struct {
		Error struct {
			Code, Status string
			Details      map[string]any
		}
	}
	favourite := map[string]any{"attributes": map[string]any{"isFavorite": true}}
	answer := two.send(http.StatusPreconditionFailed, http.MethodPatch, "/preferences/"+item.ID, favourite, "If-Match", `"`+item.Etag+`"`)
	require.NoError(t, answer.JSON(&refused))
	require.Equal(t, "PRECONDITION_FAILED", refused.Error.Code)
	require.Equal(t, "FAILED_PRECONDITION", refused.Error.Status)
	require.Equal(t, item.Etag, refused.Error.Details["providedEtag"])
	require.Equal(t, "preferences/"+item.ID, refused.Error.Details["resourceName"])

	latest, err := two.Item(t.Context(), item.ID)
	require.NoError(t, err)
	require.Equal(t, refused.Error.Details["currentEtag"], latest.Etag)
	two.send(http.StatusOK, http.MethodPatch, "/preferences/"+item.ID, favourite, "If-Match", latest.Etag) // unquoted, as the scenario's client sends it
	both := one.list()
	require.Equal(t, []string{"acc-001:1", "acc-005:2", "acc-004:3", "acc-002:4"}, orders(both.Preferences), "neither change is lost")
	require.Equal(t, client.Attributes{"isFavorite": true}, both.Preferences[1].Attributes)
	_, err = one.Change(t.Context(), item.ID, client.Patch{Attributes: &client.Attributes{"isFavorite": false}}, client.IfMatch("stale"), client.Force())
	require.NoError(t, err)
}

// nothingLeaks is I14: no log line holds a token or an attribute.
func nothingLeaks(t *testing.T, dev *prefstest.Dev) {
	t.Helper()
	// The tour prints the tokens for its user, on standard output, before any request.
	_, log, found := strings.Cut(dev.Log(), "Try it")
	require.True(t, found)
	lines := strings.SplitAfter(log, "\n\n")
	rest := lines[len(lines)-1]
	for _, secret := range []string{dev.Tokens.Alice, dev.Tokens.System, "isFavorite"} {
		require.NotContains(t, rest, secret)
	}
}
