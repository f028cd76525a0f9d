package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// TestADeletedUserReadsNothingAndSavesNothing: the token is still good, the user
// is not.
func TestADeletedUserReadsNothingAndSavesNothing(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	l := alice.save("a", "b")
	id := l.Preferences[0].ID
	_, err := w.prefs.UserDeleted(t.Context(), preferences.Delivery{Consumer: "c", Topic: "t", EventID: "e"}, "alice", time.Now())
	require.NoError(t, err)
	w.unchanged(func() {
		require.Empty(t, alice.read().Preferences)
		require.NotEqual(t, l.ETag, alice.read().ETag)
		for _, h := range [][]string{nil, {keyHeader, "k"}, {"If-None-Match", "*"}} {
			for _, x := range []struct{ method, target, body string }{
				{http.MethodPut, "/preferences:batchReplace", body("a")},
				{http.MethodPost, "/preferences:batchReplace", body("a")},
				{http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a"}`},
			} {
				p := alice.send(x.method, x.target, x.body, h...).fails(http.StatusForbidden, "USER_DELETED")
				require.Equal(t, "PERMISSION_DENIED", p.Error.Status)
			}
			for _, x := range []struct{ method, target, body string }{
				{http.MethodGet, "/preferences/" + id, ""},
				{http.MethodPatch, "/preferences/" + id, `{}`},
				{http.MethodDelete, "/preferences/" + id, ""},
				{http.MethodPatch, batchPath, batch(l.find("a").moves(2))},
				{http.MethodPost, "/preferences:restore", `{"domain":"accounts","version":1}`},
			} {
				alice.send(x.method, x.target, x.body, h...).fails(http.StatusNotFound, "NOT_FOUND")
			}
		}
		require.Zero(t, *alice.replace(body()).list(http.StatusOK).Summary, "an empty save of nothing is none")
		alice.send(http.MethodGet, view("syncToken", l.SyncToken), "").fails(http.StatusGone, "SYNC_TOKEN_EXPIRED")
	})
}

// TestAnOutcomeThatIsNotKnownIsSaid, and a repetition with the key makes it known.
func TestAnOutcomeThatIsNotKnownIsSaid(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"the commit was made": false, "the commit never left": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wire, through := pgtest.NewWire(t, pgtest.New(t))
			w := beginAt(t, through)
			alice := w.as("alice")
			alice.save("a", "b")
			wire.Cut(pgtest.Cut{Mark: "\x00keep\x00", Before: before})
			res := alice.replace(body("b", "a"), keyHeader, "k")
			p := res.fails(http.StatusServiceUnavailable, "OUTCOME_UNKNOWN")
			require.True(t, wire.Fired())
			require.Equal(t, "UNAVAILABLE", p.Error.Status)
			require.Equal(t, "2", res.Header.Get("Retry-After"))
			l := alice.replace(body("b", "a"), keyHeader, "k").list(http.StatusOK)
			require.Equal(t, 2, l.Version)
			require.Equal(t, summary{Updated: 2, Total: 2}, *l.Summary)
			require.Equal(t, l.ETag, alice.read().ETag)
			require.Equal(t, 2, alice.events())

			o := w.async("nobody-lists-it")
			wire.Cut(pgtest.Cut{Mark: "\x00keep\x00", Before: before})
			w.system().send(http.MethodPost, o.path()+"/cancel", "", keyHeader, "stop").fails(http.StatusServiceUnavailable, "OUTCOME_UNKNOWN")
			require.True(t, wire.Fired())
			require.Equal(t, !before, w.operation(o).Metadata.CancelRequested)
			require.True(t, w.system().call(o.path()+"/cancel", keyHeader, "stop").Metadata.CancelRequested)
		})
	}
}

// TestLimitsAreReachedAndNotPassed: what is at a limit is taken, what is beyond
// is not.
func TestLimitsAreReachedAndNotPassed(t *testing.T) {
	alice := begin(t).as("alice")
	deep := strings.Repeat(`{"a":`, 16) + `1` + strings.Repeat(`}`, 16)
	keys := make([]string, 256)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	alice.replace(items0(`{"entityId":"deep","attributes":`+deep+`}`, `{"entityId":"keys","attributes":{`+strings.Join(keys, ",")+`}}`)).list(http.StatusOK)

	heavy := `{"a": "` + strings.Repeat("x", 16<<10-9) + `"}` // as large as an item's may be
	l := alice.replace(items0(`{"entityId":"light","attributes":{"a":"` + strings.Repeat("x", 100) + `"}}`)).list(http.StatusOK)
	for i := range 63 {
		alice.send(http.MethodPost, "/preferences", fmt.Sprintf(`{"domain":"accounts","entityId":"h-%d","attributes":%s}`, i, heavy)).item(http.StatusCreated)
	}
	alice.unchanged(func() {
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"h-63","attributes":`+heavy+`}`).
			fails(http.StatusBadRequest, "INVALID_FIELD", "attributes")
	})
	alice.patch(l.Preferences[0].ID, `{"attributes":`+heavy+`}`).item(http.StatusOK) // exactly 1 MiB in all
	alice.unchanged(func() {
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"h-63"}`).fails(http.StatusBadRequest, "INVALID_FIELD", "attributes")
	})
}
