package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// difference is what has changed, as a client reads it.
type difference struct {
	Changed         []preference
	Removed         []struct{ ID, EntityID, EntityType string }
	SyncToken, ETag string
	Version         int
}

// since reads what has changed.
func (c caller) since(token string, h ...string) (d difference) {
	c.Helper()
	res := c.send(http.MethodGet, view("syncToken", token), "", h...).is(http.StatusOK)
	res.into(&d)
	require.Equal(c, `"`+d.ETag+`"`, res.Header.Get("ETag"))
	require.Equal(c, "private, max-age=300", res.Header.Get("Cache-Control"))
	return d
}

// TestCase046_ASyncTokenAsksForWhatHasChanged: nothing, then items that changed,
// then a deletion, then too long ago.
func TestCase046_ASyncTokenAsksForWhatHasChanged(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	never := alice.read()
	require.NotEmpty(t, never.SyncToken)
	require.Empty(t, alice.since(never.SyncToken).Changed)
	l := alice.save("a", "b", "c")
	require.Len(t, alice.since(never.SyncToken).Changed, 3, "the first save is a change too")
	require.Equal(t, l.SyncToken, alice.read().SyncToken, "a save answers with the token of what it saved")

	res := alice.send(http.MethodGet, view("syncToken", l.SyncToken), "").is(http.StatusOK)
	require.Equal(t, fmt.Sprintf(`{"changed":[],"removed":[],"etag":%q,"version":1,"syncToken":%q}`+"\n", l.ETag, l.SyncToken), res.text)
	alice.send(http.MethodGet, view("syncToken", l.SyncToken), "", "If-None-Match", l.ETag).notModified(l.ETag)
	head := alice.send(http.MethodHead, view("syncToken", l.SyncToken), "").is(http.StatusOK)
	require.Equal(t, res.Header.Get("Content-Length"), head.Header.Get("Content-Length"))

	alice.send(http.MethodPatch, "/preferences/"+l.find("c").ID, `{"attributes":{"x":1}}`).item(http.StatusOK)
	d := alice.since(l.SyncToken)
	require.Equal(t, []preference{alice.read().find("c")}, d.Changed)
	require.Empty(t, d.Removed)
	require.Equal(t, 2, d.Version)
	alice.send(http.MethodDelete, "/preferences/"+l.find("b").ID, "").is(http.StatusNoContent)
	d = alice.since(d.SyncToken)
	require.Equal(t, []preference{alice.read().find("c")}, d.Changed, "its order is another")
	require.Equal(t, "b", d.Removed[0].EntityID)
	require.Equal(t, l.find("b").ID, d.Removed[0].ID)
	require.Equal(t, "account", d.Removed[0].EntityType)
	require.Equal(t, alice.read().ETag, d.ETag)
	alice.send(http.MethodGet, view("syncToken", l.SyncToken), "", "If-None-Match", d.ETag).notModified(d.ETag)
	alice.send(http.MethodGet, view("syncToken", l.SyncToken), "", "If-Match", l.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")

	require.Len(t, w.admin().since2("alice", l.SyncToken).Changed, 1)
	_, err := w.db.ExecContext(t.Context(), `delete from changes where version = 1`) // as pruning does
	require.NoError(t, err)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		alice.send(method, view("syncToken", l.SyncToken), "").fails(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	}
	require.Empty(t, alice.since(d.SyncToken).Changed, "later tokens are as good as before")
}

func (c caller) since2(user, token string) (d difference) {
	c.Helper()
	c.send(http.MethodGet, view("userId", user, "syncToken", token), "").is(http.StatusOK).into(&d)
	return d
}

// TestATokenOfARestoredListIsExpired: after a restore the numbers of versions
// come again, for other contents.
func TestATokenOfARestoredListIsExpired(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	first := alice.save("a")
	second := alice.save("a", "b")
	// The database as it was before the second save, and another save in its place.
	for _, statement := range []string{
		`delete from changes where version = 2`, `delete from outbox where aggregate_seq = 2`, `delete from preferences where entity_id = 'b'`,
		`update preference_lists set version = 1, updated_at = (select changed_at from changes where version = 1)`,
	} {
		_, err := w.db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	alice.send(http.MethodGet, view("syncToken", second.SyncToken), "").fails(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	alice.save("a", "c")
	alice.send(http.MethodGet, view("syncToken", second.SyncToken), "").fails(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	require.Equal(t, "c", alice.since(first.SyncToken).Changed[0].EntityID)
}

func TestAForeignOrAlteredSyncTokenIsRefused(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	token := alice.save(many(9)...).SyncToken
	bob.save(many(9)...)
	refuse := func(c caller, token string) {
		c.send(http.MethodGet, view("syncToken", token), "").fails(http.StatusBadRequest, "INVALID_SYNC_TOKEN", "syncToken")
	}
	for i := range len(token) {
		altered := []byte(token)
		altered[i] ^= 1
		refuse(alice, string(altered))
	}
	for _, nonsense := range []string{"", "x", "=", token + "A", token[1:], "\x00", *alice.page("", 4, "").NextPageToken} {
		refuse(alice, nonsense)
	}
	refuse(bob, token)
	alice.send(http.MethodHead, view("syncToken", "x"), "").fails(http.StatusBadRequest, "")
	for _, other := range []string{"filter", "fields", "sortBy", "sortOrder", "pageSize", "pageToken"} {
		alice.send(http.MethodGet, view("syncToken", token, other, "entityId"), "").fails(http.StatusBadRequest, "INVALID_FIELD", other)
	}
	alice.send(http.MethodGet, "/preferences?domain=contacts&syncToken="+token, "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	require.Empty(t, alice.send(http.MethodGet, view("filter", "entityId = e-1"), "").list(http.StatusOK).SyncToken, "what a filter leaves out is not synced")
	require.Empty(t, alice.page("", 8, "").SyncToken, "only the last page has one")
}

// TestWhoIsTooFarBehindStartsAgain: reading thousands of versions would cost
// more than reading the list.
func TestWhoIsTooFarBehindStartsAgain(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	l := alice.save("a")
	_, err := w.db.ExecContext(t.Context(), `insert into changes (list_id, version, changed_at, action, actor, delta)
		select list_id, v, changed_at + v * interval '1 microsecond', 'update', 'alice', '{"updated": [{"entityId": "a", "attributes": [{}, {}]}]}'
		from changes, generate_series(2, $1) v`, preferences.MaxSyncVersions+1)
	require.NoError(t, err)
	move := func(version int) {
		_, err := w.db.ExecContext(t.Context(), `update preference_lists set version = $1, updated_at = (select changed_at from changes where version = $1)`, version)
		require.NoError(t, err)
	}
	move(preferences.MaxSyncVersions)
	require.Empty(t, alice.since(l.SyncToken).Changed)
	move(preferences.MaxSyncVersions + 1)
	require.Empty(t, alice.since(l.SyncToken).Changed)
	_, err = w.db.ExecContext(t.Context(), `insert into changes (list_id, version, changed_at, action, actor, delta)
		select list_id, version + 1, changed_at + interval '1 microsecond', action, actor, delta from changes order by version desc limit 1`)
	require.NoError(t, err)
	move(preferences.MaxSyncVersions + 2)
	alice.send(http.MethodGet, view("syncToken", l.SyncToken), "").fails(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	_, err = w.db.ExecContext(t.Context(), `delete from changes where version > 1`)
	require.NoError(t, err)
	move(1)
}

// copied is a client's copy of a list.
type copied struct {
	items map[string]preference
	token string
}

func (k *copied) take(d difference) {
	for _, g := range d.Removed {
		delete(k.items, g.ID)
	}
	for _, p := range d.Changed {
		k.items[p.ID] = p
	}
	k.token = d.SyncToken
}

func (k *copied) inOrder() []preference {
	out := make([]preference, 0, len(k.items))
	for _, p := range k.items {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b preference) int { return a.Order - b.Order })
	return out
}

// TestWhoAppliesEveryDeltaHasTheList: saves, patches, moves and deletions, cleans
// that close gaps and cleans that leave them; a client that asks now and then
// has the list, to the byte.
func TestWhoAppliesEveryDeltaHasTheList(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	k := copied{items: map[string]preference{}, token: alice.read().SyncToken}
	alive := many(30)
	for round := range 60 {
		l := alice.read()
		switch kind := draw.IntN(6); {
		case kind == 0 || len(l.Preferences) == 0:
			draw.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
			alice.save(alive[:1+draw.IntN(12)]...)
		case kind == 1:
			alice.send(http.MethodPatch, "/preferences/"+l.Preferences[0].ID, fmt.Sprintf(`{"attributes":{"n":%d}}`, draw.IntN(3))).item(http.StatusOK)
		case kind == 2:
			alice.send(http.MethodPatch, "/preferences/"+l.Preferences[0].ID, fmt.Sprintf(`{"order":%d}`, 1+draw.IntN(len(l.Preferences)))).item(http.StatusOK)
		case kind == 3:
			alice.send(http.MethodDelete, "/preferences/"+l.Preferences[draw.IntN(len(l.Preferences))].ID, "").is(http.StatusNoContent)
		case len(alive) > 13:
			gone := l.Preferences[draw.IntN(len(l.Preferences))].EntityID
			alive = slices.DeleteFunc(alive, func(id string) bool { return id == gone })
			w.system().send(http.MethodPost, "/preferences:cleanOrphaned", fmt.Sprintf(`{"entityId":%q,"entityType":"account","reorder":%t}`, gone, kind == 4)).is(http.StatusOK)
		}
		if round%7 == 0 || draw.IntN(2) == 0 {
			k.take(alice.since(k.token))
			require.Equal(t, alice.read().Preferences, k.inOrder(), "after round %d", round)
		}
	}
}
