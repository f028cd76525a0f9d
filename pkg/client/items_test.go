package client_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
)

func TestSeveralItemsAreChangedUnderOneKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){says(503, away), says(200, saved)}}
		order, etag := 2, "CCCCCCCCCCCCCCCC"
		out, err := s.client(t).ChangeItems(t.Context(), "accounts", []client.ItemPatch{
			{ID: "1", Attributes: &client.Attributes{"a": nil}}, {ID: "2", Order: &order, Etag: &etag},
		})
		require.NoError(t, err)
		require.EqualValues(t, 1, out.Version)
		require.Equal(t, s.seen[0].Header.Get("Idempotency-Key"), s.seen[1].Header.Get("Idempotency-Key"))
		require.Equal(t, http.MethodPatch, s.seen[1].Method)
		require.Equal(t, "/preferences:batchUpdate", s.seen[1].URL.Path)
		require.JSONEq(t, `{"domain":"accounts","updates":[{"id":"1","attributes":{"a":null}},{"id":"2","order":2,"etag":"CCCCCCCCCCCCCCCC"}]}`, s.bodies[1])
	})
}

func TestAnEditOfSeveralItemsIsMerged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){
			says(200, `{"preferences":[{"id":"1"}],"etag":"AAAAAAAAAAAAAAAA"}`), says(412, ""),
			says(200, `{"preferences":[{"id":"2"}],"etag":"BBBBBBBBBBBBBBBB"}`), says(200, saved),
		}}
		_, err := s.client(t).EditItems(t.Context(), "accounts", func(l *client.List) ([]client.ItemPatch, error) {
			return []client.ItemPatch{{ID: l.Preferences[0].ID}}, nil
		})
		require.NoError(t, err)
		require.Equal(t, `"AAAAAAAAAAAAAAAA"`, s.seen[1].Header.Get("If-Match"))
		require.Equal(t, `"BBBBBBBBBBBBBBBB"`, s.seen[3].Header.Get("If-Match"))
		require.JSONEq(t, `{"domain":"accounts","updates":[{"id":"2"}]}`, s.bodies[3])
		require.NotEqual(t, s.seen[1].Header.Get("Idempotency-Key"), s.seen[3].Header.Get("Idempotency-Key"))
	})
}

func TestARestorationIsAWrite(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, saved), says(410, "")}}
	c := s.client(t)
	out, err := c.Restore(t.Context(), "accounts", 3, client.IfMatch("AAAAAAAAAAAAAAAA"))
	require.NoError(t, err)
	require.EqualValues(t, 1, out.Version)
	require.JSONEq(t, `{"domain":"accounts","version":3}`, s.bodies[0])
	require.Equal(t, `"AAAAAAAAAAAAAAAA"`, s.seen[0].Header.Get("If-Match"))
	require.NotEmpty(t, s.seen[0].Header.Get("Idempotency-Key"))
	_, err = c.Restore(t.Context(), "accounts", 1)
	require.ErrorIs(t, err, client.ErrGone)
}
