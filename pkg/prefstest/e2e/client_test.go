package e2e

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// dial returns a client of the API for a user, with connections of its own.
func dial(t *testing.T, url, token string, change ...func(*client.Config)) *client.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg := client.Config{BaseURL: url, Token: client.StaticToken(token), HTTP: &http.Client{Transport: transport}}
	for _, fn := range change {
		fn(&cfg)
	}
	c, err := client.New(cfg)
	require.NoError(t, err)
	return c
}

func TestAClientLivesThroughADay(t *testing.T) {
	t.Parallel()
	dev := prefstest.StartDev(t, t.TempDir(), "--ephemeral")
	alice, bob := dial(t, dev.APIURL, dev.Tokens.Alice), dial(t, dev.APIURL, dev.Tokens.Bob)
	ctx := t.Context()

	none, err := alice.List(ctx, "accounts")
	require.NoError(t, err)
	require.Empty(t, none.Preferences)
	saved, err := alice.Save(ctx, "accounts", []client.Item{{EntityID: "acc-001"}, {EntityID: "acc-003"}}, client.IfMatch(none.Etag))
	require.NoError(t, err)
	require.Equal(t, 2, saved.Summary.Created)
	_, err = alice.Save(ctx, "accounts", nil, client.IfMatch(none.Etag))
	require.ErrorIs(t, err, client.ErrChanged)
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, saved.Etag, refused.ETag)

	added, err := alice.Add(ctx, client.NewItem{Domain: "accounts", EntityID: "acc-002"})
	require.NoError(t, err)
	require.EqualValues(t, 3, added.Order)
	_, err = alice.Add(ctx, client.NewItem{Domain: "accounts", EntityID: "acc-002"})
	require.ErrorAs(t, err, &refused)
	require.Equal(t, added.ID, refused.ExistingID)

	_, err = bob.Item(ctx, added.ID)
	require.ErrorIs(t, err, client.ErrNotFound)
	edited, err := alice.EditItem(ctx, added.ID, func(p *client.Preference) (client.Patch, error) {
		clicks, _ := p.Attributes["clicks"].(float64)
		return client.Patch{Attributes: &client.Attributes{"clicks": clicks + 1}}, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, edited.Attributes["clicks"])
	require.NoError(t, alice.Remove(ctx, added.ID, client.IfMatch(edited.Etag)))

	for range 2 { // the second is read from what is kept
		list, err := alice.List(ctx, "accounts")
		require.NoError(t, err)
		require.Equal(t, []string{"acc-001", "acc-003"}, entities(list.Preferences))
	}
	var versions []int64
	for change, err := range alice.History(ctx, "accounts") {
		require.NoError(t, err)
		versions = append(versions, change.Version)
	}
	require.Equal(t, []int64{4, 3, 2, 1}, versions)

	tidy, err := alice.EditItems(ctx, "accounts", func(l *client.List) ([]client.ItemPatch, error) {
		last := len(l.Preferences)
		return []client.ItemPatch{{ID: l.Preferences[0].ID, Order: &last, Attributes: &client.Attributes{"seen": true}}}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"acc-003", "acc-001"}, entities(tidy.Preferences))
	back, err := alice.Restore(ctx, "accounts", 2, client.IfMatch(tidy.Etag))
	require.NoError(t, err)
	require.Equal(t, []string{"acc-001", "acc-003", "acc-002"}, entities(back.Preferences))
	_, err = alice.Restore(ctx, "accounts", back.Version+1)
	require.ErrorIs(t, err, client.ErrNotFound)

	_, err = alice.Clean(ctx, "account", "acc-001")
	require.ErrorIs(t, err, client.ErrDenied)
	cleaned, err := dial(t, dev.APIURL, dev.Tokens.System).Clean(ctx, "account", "acc-001")
	require.NoError(t, err)
	require.Equal(t, []string{"alice"}, cleaned.AffectedUsers)
	require.Zero(t, dev.Terminate(t))
}

// TestACopyFollowsItsList through saves, moves, removals and cleans, by what has
// changed alone; and starts afresh where that is not known any more.
func TestACopyFollowsItsList(t *testing.T) {
	t.Parallel()
	dev := prefstest.StartDev(t, t.TempDir(), "--ephemeral")
	alice, copied := open(t, dev.APIURL, dev.Tokens.Alice), open(t, dev.APIURL, dev.Tokens.Alice)
	ctx := t.Context()
	have, err := copied.Sync(ctx, "accounts", nil)
	require.NoError(t, err)
	follow := func() {
		t.Helper()
		have, err = copied.Sync(ctx, "accounts", have)
		require.NoError(t, err)
		want, err := open(t, dev.APIURL, dev.Tokens.Alice).List(ctx, "accounts")
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	follow()
	alice.save(inOrder("a", "b", "c"))
	follow()
	follow() // nothing has changed
	alice.save(with(client.Attributes{"x": 1.0}, inOrder("c", "d", "a")))
	require.NoError(t, alice.Remove(ctx, alice.list().Preferences[1].ID))
	follow()
	_, err = open(t, dev.APIURL, dev.Tokens.System).Clean(ctx, "account", "c")
	require.NoError(t, err)
	follow()
	changes, err := copied.Changes(ctx, "accounts", *have.SyncToken)
	require.NoError(t, err)
	require.Empty(t, changes.Changed)
	require.Empty(t, changes.Removed)
	for n := range 1001 { // one more than a reader may be behind
		alice.save(inOrder("a", fmt.Sprintf("b-%d", n%2)))
	}
	_, err = copied.Changes(ctx, "accounts", *have.SyncToken)
	require.ErrorIs(t, err, client.ErrGone)
	follow()
	require.Zero(t, dev.Terminate(t))
}

// TestEditorsOfOneListLoseNothing lets several tabs change one list at once,
// each by what it saw.
func TestEditorsOfOneListLoseNothing(t *testing.T) {
	t.Parallel()
	const tabs, edits = 6, 4
	dev := prefstest.StartDev(t, t.TempDir(), "--ephemeral")
	var merges atomic.Int64
	var g errgroup.Group
	for tab := range tabs {
		c := dial(t, dev.APIURL, dev.Tokens.Alice)
		g.Go(func() error {
			for n := range edits {
				_, err := c.Edit(t.Context(), "accounts", func(l *client.List) ([]client.Item, error) {
					merges.Add(1)
					mine := client.Item{EntityID: fmt.Sprintf("tab-%d-%d", tab, n)}
					return append([]client.Item{mine}, client.Items(l)...), nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	list, err := dial(t, dev.APIURL, dev.Tokens.Alice).List(t.Context(), "accounts")
	require.NoError(t, err)
	require.Len(t, list.Preferences, tabs*edits)
	require.EqualValues(t, tabs*edits, list.Version, "each edit is one change")
	require.Greater(t, merges.Load(), int64(tabs*edits), "they did get into each other's way")
	require.Zero(t, dev.Terminate(t))
}

// TestAKilledServiceDoesEveryWriteOnce kills the api again and again under a
// client, which notices nothing but the time it takes.
func TestAKilledServiceDoesEveryWriteOnce(t *testing.T) {
	t.Parallel()
	const items, kills = 120, 3
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	api := stage.API(t, nil)
	alice := dial(t, api.URL, stage.Token(t, "alice"), func(c *client.Config) { c.Attempts = 20 })
	var done atomic.Int64
	failed := make(chan error, 1)
	go func() {
		for n := range items {
			if _, err := alice.Add(t.Context(), client.NewItem{Domain: "accounts", EntityID: fmt.Sprintf("acc-%03d", n)}); err != nil {
				failed <- fmt.Errorf("item %d: %w", n, err)
				return
			}
			done.Add(1)
		}
		failed <- nil
	}()
	for n := range kills {
		prefstest.Eventually(t, prefstest.Patience, "some items are added", func() bool { return done.Load() >= int64((n+1)*items/(kills+1)) })
		api.Kill()
		api = stage.API(t, api)
	}
	require.NoError(t, <-failed, "an item that was there already would have been added twice")
	list, err := alice.List(t.Context(), "accounts")
	require.NoError(t, err)
	require.Len(t, list.Preferences, items)
	require.EqualValues(t, items, list.Version)
	stage.Settle(t)
	require.Zero(t, api.Terminate(t))
}
