package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/preferences"
)

const detectPath = "/preferences:detectOrphaned?domain=accounts"

// owner has every account but those that it misses.
type owner struct{ misses []string }

// Missing implements preferences.Directory.
func (o *owner) Missing(_ context.Context, ids []string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(o.misses, id) }), nil
}

// asking lets a world ask an owner.
func asking(o preferences.Directory) func(*preferences.Options) {
	return func(options *preferences.Options) {
		options.Directories = map[string]preferences.Directory{"account": o}
	}
}

// orphans is what :detectOrphaned says.
type orphans struct {
	OrphanedPreferences []struct{ PreferenceID, UserID, EntityID, EntityType, Reason string }
	TotalOrphaned       int
	Believable          bool
	NextPageToken       *string
}

func (w *world) orphans(token *string) (out orphans) {
	w.Helper()
	target := detectPath
	if token != nil {
		target += "&pageToken=" + url.QueryEscape(*token)
	}
	w.unchanged(func() { w.system().send(http.MethodGet, target, "").is(http.StatusOK).into(&out) })
	return out
}

func TestOrphansAreWhatTheirOwnerDoesNotHave(t *testing.T) {
	w := begin(t, asking(&owner{misses: []string{"gone", "also-gone", "nobody-has-it"}}))
	alice := w.as("alice").save("a", "gone", "b")
	w.as("bob").save("gone", "also-gone")
	w.as("carol").save("a")
	page := w.orphans(nil)
	require.Nil(t, page.NextPageToken)
	require.Equal(t, 3, page.TotalOrphaned)
	require.True(t, page.Believable)
	var got []string
	for _, o := range page.OrphanedPreferences {
		require.Equal(t, "account", o.EntityType)
		require.Equal(t, "Entity no longer exists", o.Reason)
		got = append(got, o.UserID+" "+o.EntityID)
	}
	require.ElementsMatch(t, []string{"bob also-gone", "alice gone", "bob gone"}, got)
	require.True(t, slices.ContainsFunc(page.OrphanedPreferences, func(o struct{ PreferenceID, UserID, EntityID, EntityType, Reason string }) bool {
		return o.PreferenceID == alice.Preferences[1].ID
	}))

	w.system().send(http.MethodGet, "/preferences:detectOrphaned", "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	w.system().send(http.MethodGet, detectPath+"&pageToken=x", "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
}

func TestPagesOfOrphansHoldEachOfThemOnce(t *testing.T) {
	missing := &owner{misses: []string{"a-popular", "b-popular", "z-last"}}
	w := begin(t, asking(missing))
	_, err := w.db.ExecContext(t.Context(), `
		with l as (insert into preference_lists (user_id, domain, version) select 'u' || n, 'accounts', 1 from generate_series(1, 900) n returning list_id, user_id, updated_at),
		i as (
			insert into preferences (id, list_id, position, entity_type, entity_id)
			select gen_random_uuid(), list_id, p, 'account', case p when 1 then 'a-popular' when 2 then 'b-popular' else 'mine-' || user_id end
			from l, generate_series(1, 3) p returning list_id, id, position, entity_type, entity_id)
		insert into changes (list_id, version, changed_at, action, actor, delta)
		select i.list_id, 1, l.updated_at, 'replace', 'u', jsonb_build_object('added', jsonb_agg(jsonb_build_object('id', i.id, 'order', position,
			'entityType', entity_type, 'entityId', entity_id, 'attributes', '{}'::jsonb)))
		from i join l using (list_id) group by i.list_id, l.updated_at`)
	require.NoError(t, err)
	w.as("alice").save("z-last")
	seen := map[string]bool{}
	var token *string
	total, pages := 0, 0
	for {
		page := w.orphans(token)
		require.LessOrEqual(t, len(page.OrphanedPreferences), preferences.MaxOrphans)
		for _, o := range page.OrphanedPreferences {
			require.False(t, seen[o.PreferenceID], "twice: %s", o.PreferenceID)
			seen[o.PreferenceID] = true
		}
		total, pages = total+len(page.OrphanedPreferences), pages+1
		require.Equal(t, total, page.TotalOrphaned, "so far")
		require.True(t, page.Believable)
		if token = page.NextPageToken; token == nil {
			break
		}
		if pages == 1 { // meanwhile the owner has found one again
			require.Equal(t, preferences.MaxOrphans, total)
			missing.misses = []string{"a-popular", "b-popular"}
		}
	}
	require.Equal(t, 1800, total)
	require.Equal(t, 2, pages)
}

// An owner that has lost half of everything is reported, but nobody should act on it.
func TestTooManyOrphansAreNotBelieved(t *testing.T) {
	var ids, lost []string
	for i := range 60 {
		ids = append(ids, fmt.Sprintf("acc-%02d", i))
	}
	lost = ids[:21]
	w := begin(t, asking(&owner{misses: lost}))
	w.as("alice").save(ids...)
	page := w.orphans(nil)
	require.Equal(t, 21, page.TotalOrphaned)
	require.False(t, page.Believable)
}

// TestCase118_AnOwnerThatIsDownMakesNoOrphans: whatever an owner answers that is
// no answer, nothing is said to be an orphan.
func TestCase118_AnOwnerThatIsDownMakesNoOrphans(t *testing.T) {
	said := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	owners := map[string]http.HandlerFunc{
		"500":       said(http.StatusInternalServerError, `{"accounts":[],"notFound":["a","b"]}`),
		"404":       said(http.StatusNotFound, `{"accounts":[],"notFound":["a","b"]}`),
		"empty":     said(http.StatusOK, `{"accounts":[],"notFound":[]}`),
		"truncated": said(http.StatusOK, `{"accounts":[],"notFound":["a","b"`),
		"slow":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	urls := map[string]string{"gone": "http://127.0.0.1:1/accounts"}
	for name, answers := range owners {
		server := httptest.NewServer(answers)
		t.Cleanup(server.Close)
		urls[name] = server.URL + "/accounts"
	}
	for name, address := range urls {
		t.Run(name, func(t *testing.T) {
			client, err := directory.New(directory.Config{URL: address, Timeout: 200 * time.Millisecond})
			require.NoError(t, err)
			t.Cleanup(client.Close)
			w := begin(t, asking(client))
			w.as("alice").save("a", "b")
			res := w.system().send(http.MethodGet, detectPath, "")
			res.fails(http.StatusServiceUnavailable, "OWNER_UNAVAILABLE")
			require.NotEmpty(t, res.Header.Get("Retry-After"))
			require.Contains(t, res.text, "nothing may be cleaned because of it")
			require.NotContains(t, res.text, "orphanedPreferences")
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		w := begin(t, func(o *preferences.Options) { o.Directories = nil })
		w.as("alice").save("a", "b")
		res := w.system().send(http.MethodGet, detectPath, "")
		res.fails(http.StatusServiceUnavailable, "OWNER_UNAVAILABLE")
		require.Contains(t, res.text, "PREFS_DIRECTORY_URL")
	})
}
