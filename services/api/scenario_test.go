package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScenario1 is the first customisation: nothing is there, then an order is
// saved.
func TestScenario1_FirstTimeSetup(t *testing.T) {
	alice := begin(t).as("alice")
	require.Equal(t, 0, alice.read().TotalSize)
	saved := alice.replace(firstSave).list(http.StatusOK)
	require.Equal(t, summary{Created: 4, Total: 4}, *saved.Summary)
	for i, entity := range []string{"acc-001", "acc-003", "acc-004", "acc-002"} {
		p := saved.Preferences[i]
		require.Equal(t, entity, p.EntityID)
		require.Equal(t, i+1, p.Order)
		require.Equal(t, "accounts", p.Domain)
		require.Equal(t, "account", p.EntityType)
		require.JSONEq(t, `{}`, string(p.Attributes))
	}
	// A save whose answer was lost is simply sent again.
	again := alice.replace(firstSave).list(http.StatusOK)
	require.Equal(t, summary{Total: 4}, *again.Summary)
	require.Equal(t, saved.ETag, again.ETag)
}

// TestScenario2: a new account appears, the order changes, a favourite is
// toggled.
func TestScenario2_UpdatingPreferences(t *testing.T) {
	alice := begin(t).as("alice")
	first := alice.replace(firstSave).list(http.StatusOK)
	alice.patch(first.find("acc-003").ID, `{"attributes":{"isFavorite":true}}`).item(http.StatusOK)
	l := alice.send(http.MethodGet, accounts+"&sortBy=order&sortOrder=asc", "").list(http.StatusOK)
	require.Equal(t, []string{"acc-001:1", `acc-003:2{"isFavorite":true}`, "acc-004:3", "acc-002:4"}, l.shown())

	saved := alice.replace(`{"domain":"accounts","preferences":[
		{"entityId":"acc-003","entityType":"account","order":1,"attributes":{"isFavorite":true}},
		{"entityId":"acc-005","entityType":"account","order":2,"attributes":{}},
		{"entityId":"acc-001","entityType":"account","order":3,"attributes":{}},
		{"entityId":"acc-004","entityType":"account","order":4,"attributes":{}},
		{"entityId":"acc-002","entityType":"account","order":5,"attributes":{}}]}`).list(http.StatusOK)
	require.Equal(t, summary{Created: 1, Updated: 4, Total: 5}, *saved.Summary)
	require.Equal(t, first.find("acc-003").ID, saved.find("acc-003").ID, "an item keeps its id")

	it := alice.patch(saved.find("acc-003").ID, `{"attributes":{"isFavorite":false}}`).item(http.StatusOK)
	require.JSONEq(t, `{"isFavorite":false}`, string(it.Attributes))
	require.Equal(t, 1, it.Order)
	require.NotEqual(t, saved.find("acc-003").ETag, it.ETag)
}

// TestScenario3 is every page load: the list, then nothing new.
func TestScenario3_LoadingTheList(t *testing.T) {
	alice := begin(t).as("alice")
	saved := alice.save("acc-003", "acc-005", "acc-001", "acc-004", "acc-002")
	l := alice.send(http.MethodGet, accounts+"&sortBy=order&sortOrder=asc", "", "If-None-Match", "").list(http.StatusOK)
	require.Equal(t, []string{"acc-003:1", "acc-005:2", "acc-001:3", "acc-004:4", "acc-002:5"}, l.shown())
	require.Equal(t, 5, l.TotalSize)
	require.Equal(t, saved.ETag, l.ETag)
	alice.unchanged(func() {
		alice.send(http.MethodGet, accounts, "", "If-None-Match", l.ETag).notModified(l.ETag)
	})
}

// TestScenario4A: an account is deleted; it leaves every list, and the gap
// closes.
func TestScenario4A_AnAccountIsDeleted(t *testing.T) {
	w := begin(t)
	users := []string{"user-123", "user-456", "user-789"}
	for _, user := range users {
		w.as(user).save("acc-003", "acc-005", "acc-001")
	}
	before := w.as("user-123").read()
	require.Equal(t, cleaned{3, users, true}, w.clean(`{"entityId":"acc-003","entityType":"account"}`))
	for _, user := range users {
		require.Equal(t, []string{"acc-005:1", "acc-001:2"}, w.as(user).read().shown())
	}
	l := w.as("user-123").send(http.MethodGet, accounts, "", "If-None-Match", before.ETag).list(http.StatusOK)
	require.Equal(t, before.find("acc-005").ID, l.find("acc-005").ID)
	// An old tab cannot bring it back.
	w.as("user-123").replace(body("acc-003", "acc-005", "acc-001"), "If-Match", before.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	require.Len(t, w.as("user-123").replace(body("acc-003", "acc-005", "acc-001")).list(http.StatusOK).Skipped, 1)
}

// TestScenario4B: a new account appears in no list until its user puts it there.
func TestScenario4B_AnAccountIsCreated(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("acc-005", "acc-001")
	require.Equal(t, []string{"acc-005:1", "acc-001:2"}, alice.read().shown())
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"acc-007","entityType":"account"}`).item(http.StatusCreated)
	require.Equal(t, []string{"acc-005:1", "acc-001:2", "acc-007:3"}, alice.read().shown())
}

// TestScenario5: one tab reorders, the other marks a favourite; neither change
// is lost.
func TestScenario5_TwoTabs(t *testing.T) {
	alice := begin(t).as("alice")
	tab1 := alice.save("acc-001", "acc-002")
	tab2 := alice.read()
	saved := alice.replace(`{"domain":"accounts","preferences":[{"entityId":"acc-002","order":1},{"entityId":"acc-001","order":2}]}`,
		"If-Match", `"`+tab1.ETag+`"`).list(http.StatusOK)
	require.NotEqual(t, tab1.ETag, saved.ETag)

	stale := tab2.find("acc-001")
	res := alice.patch(stale.ID, `{"attributes":{"isFavorite":true}}`, "If-Match", `"`+stale.ETag+`"`)
	p := res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	require.Equal(t, "FAILED_PRECONDITION", p.Error.Status)
	require.Equal(t, saved.find("acc-001").ETag, p.Error.Details.CurrentETag)
	require.Equal(t, stale.ETag, p.Error.Details.ProvidedETag)
	require.Equal(t, "preferences/"+stale.ID, p.Error.Details.ResourceName)
	require.Equal(t, saved.find("acc-001").UpdateTime, *p.Error.Details.LastModified)

	// Option A: read again and repeat, with the tag as bodies have it.
	latest := alice.send(http.MethodGet, "/preferences/"+stale.ID, "").item(http.StatusOK)
	alice.patch(stale.ID, `{"attributes":{"isFavorite":true}}`, "If-Match", latest.ETag).item(http.StatusOK)
	require.Equal(t, []string{"acc-002:1", `acc-001:2{"isFavorite":true}`}, alice.read().shown())
	// Option B: force.
	alice.send(http.MethodPatch, "/preferences/"+stale.ID+"?force=true", `{"attributes":{"isFavorite":false}}`, "If-Match", stale.ETag).item(http.StatusOK)
	// The first tab saves its order again, and leaves the favourite alone.
	alice.replace(`{"domain":"accounts","preferences":[{"entityId":"acc-001","order":1},{"entityId":"acc-002","order":2}]}`, "If-Match", alice.read().ETag).list(http.StatusOK)
	require.Equal(t, []string{`acc-001:1{"isFavorite":false}`, "acc-002:2"}, alice.read().shown())
}
