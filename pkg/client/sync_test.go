package client_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
)

// known is a list that its reader has: a, b and c.
func known() *client.List {
	token := "token-1"
	return &client.List{
		Preferences: []client.Preference{{ID: "1", EntityID: "a", Order: 1}, {ID: "2", EntityID: "b", Order: 2}, {ID: "3", EntityID: "c", Order: 3}},
		TotalSize:   3, Etag: "AAAAAAAAAAAAAAAA", Version: 1, SyncToken: &token,
	}
}

func shown(l *client.List) (out []string) {
	for _, p := range l.Preferences {
		out = append(out, p.EntityID)
	}
	return out
}

func TestSyncAppliesWhatHasChanged(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, `{"changed":[{"id":"3","entityId":"c","order":1},{"id":"4","entityId":"d","order":3}],
		"removed":[{"id":"1","entityId":"a","entityType":"account"},{"id":"9","entityId":"z","entityType":"account"}],
		"etag":"BBBBBBBBBBBBBBBB","version":4,"syncToken":"token-4"}`)}}
	before := known()
	now, err := s.client(t).Sync(t.Context(), "accounts", before)
	require.NoError(t, err)
	require.Equal(t, []string{"c", "b", "d"}, shown(now))
	require.Equal(t, 3, now.TotalSize)
	require.EqualValues(t, 4, now.Version)
	require.Equal(t, "BBBBBBBBBBBBBBBB", now.Etag)
	require.Equal(t, "token-4", *now.SyncToken)
	require.Equal(t, known(), before, "the earlier state stays as it is")
	require.Equal(t, "token-1", s.seen[0].URL.Query().Get("syncToken"))
	require.Equal(t, `"AAAAAAAAAAAAAAAA"`, s.seen[0].Header.Get("If-None-Match"))
}

func TestSyncOfAnUnchangedListCostsNothing(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(304, "")}}
	before := known()
	now, err := s.client(t).Sync(t.Context(), "accounts", before)
	require.NoError(t, err)
	require.Equal(t, before, now)
	require.NotSame(t, before, now)
	now.Preferences[0].EntityID = "mine"
	require.Equal(t, known(), before)
}

func TestSyncReadsTheWholeListWhereThereIsNoOtherWay(t *testing.T) {
	t.Parallel()
	const gone = `{"error":{"code":"SYNC_TOKEN_EXPIRED","message":"Read the list.","status":"OUT_OF_RANGE","details":{"requestId":"r1"}}}`
	s := &service{answers: []func() (*http.Response, error){says(410, gone), says(200, empty)}}
	now, err := s.client(t).Sync(t.Context(), "accounts", known())
	require.NoError(t, err)
	require.Empty(t, now.Preferences)
	require.Len(t, s.seen, 2)
	require.Empty(t, s.seen[1].URL.Query().Get("syncToken"))

	for _, nothing := range []*client.List{nil, {Etag: "AAAAAAAAAAAAAAAA"}} {
		s := &service{answers: []func() (*http.Response, error){says(200, empty)}}
		_, err := s.client(t).Sync(t.Context(), "accounts", nothing)
		require.NoError(t, err)
		require.Len(t, s.seen, 1)
		require.Empty(t, s.seen[0].URL.Query().Get("syncToken"))
	}
}

func TestSyncSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(400, wrong)}}
	_, err := s.client(t).Sync(t.Context(), "accounts", known())
	require.ErrorIs(t, err, client.ErrInvalid)
	s = &service{answers: []func() (*http.Response, error){says(410, "")}}
	_, err = s.client(t).Changes(t.Context(), "accounts", "token-1")
	require.ErrorIs(t, err, client.ErrGone)
}
