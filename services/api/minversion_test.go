package api_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// TestAReadMayNameAVersionThatItNeeds: only then a replica may answer, and only
// if it has reached the version; what was never reached is not found.
func TestAReadMayNameAVersionThatItNeeds(t *testing.T) {
	url := pgtest.New(t)
	replica, err := postgres.Open(postgres.Config{URL: url, MaxConns: 2, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Close()) })
	w := begin(t, func(o *preferences.Options) { o.Replica = replica })
	alice := w.as("alice")
	// Another database stands in for a replica that is two versions behind.
	behind := preferences.New(preferences.Options{Store: replica, Announcer: announcer})
	_, err = behind.Replace(t.Context(), "alice", "accounts", preferences.By{Actor: "alice"}, preferences.Terms{}, []preferences.Input{{EntityID: "old"}})
	require.NoError(t, err)
	alice.save("a")
	alice.save("a", "b")
	newest := alice.save("a", "b", "c")

	for version, want := range map[string][]string{"0": {"old"}, "1": {"old"}, "2": {"a", "b", "c"}, "3": {"a", "b", "c"}} {
		require.Equal(t, want, idsOf(alice.send(http.MethodGet, view("minVersion", version), "").list(http.StatusOK)), version)
		require.Equal(t, want, idsOf(alice.send(http.MethodGet, accounts, "", "Prefs-Min-Version", version).list(http.StatusOK)), version)
	}
	require.Equal(t, []string{"a", "b", "c"}, idsOf(alice.read()), "who names none gets the newest")
	require.Equal(t, []string{"a", "b", "c"}, idsOf(alice.send(http.MethodGet, view("minVersion", "0"), "", "Prefs-Min-Version", "2").list(http.StatusOK)), "the newer counts")
	alice.send(http.MethodGet, view("minVersion", "3"), "", "If-None-Match", newest.ETag).notModified(newest.ETag)
	alice.send(http.MethodGet, view("minVersion", "1"), "", "If-None-Match", newest.ETag).list(http.StatusOK)

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, h := range [][]string{nil, {"If-None-Match", newest.ETag}, {"If-Match", `"stale"`}} {
			alice.send(method, view("minVersion", strconv.Itoa(newest.Version+1)), "", h...).fails(http.StatusNotFound, "NOT_FOUND", "minVersion")
		}
		alice.send(method, accounts, "", "Prefs-Min-Version", "9223372036854775807").fails(http.StatusNotFound, "NOT_FOUND")
		alice.send(method, view("syncToken", newest.SyncToken, "minVersion", "4"), "").fails(http.StatusNotFound, "NOT_FOUND")
		w.as("bob").send(method, view("minVersion", "1"), "").fails(http.StatusNotFound, "NOT_FOUND")
	}
	alice.send(http.MethodGet, view("syncToken", newest.SyncToken, "minVersion", "3"), "").is(http.StatusOK)
	for _, nonsense := range []string{"", "-1", "x", "1.0", "9223372036854775808", "+"} {
		alice.send(http.MethodGet, view("minVersion", nonsense), "").fails(http.StatusBadRequest, "INVALID_FIELD", "minVersion")
	}
	alice.send(http.MethodGet, accounts, "", "Prefs-Min-Version", "x").fails(http.StatusBadRequest, "INVALID_FIELD", "Prefs-Min-Version")
}
