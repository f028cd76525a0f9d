package client_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
)

const running = `{"name": "operations/op-1", "kind": "bulkClean", "done": false, "metadata": {"state": "running", "progress": {"done": 3, "total": 9, "percent": 33}}}`

const succeeded = `{"name": "operations/op-1", "kind": "bulkClean", "done": true, "metadata": {"state": "succeeded", "progress": {"done": 9, "total": 9, "percent": 100}},
	"response": {"summary": {"totalEntities": 2, "totalPreferencesDeleted": 9, "affectedUsers": 4, "errors": []}, "details": []}}`

func TestACleanThatTakesLongIsAnOperationAndNoError(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){
		says(http.StatusOK, `{"deleted": 2, "affectedUsers": ["a", "b"], "reordered": true}`),
		says(http.StatusAccepted, running),
		says(http.StatusOK, `{"summary": {"totalEntities": 1, "totalPreferencesDeleted": 5, "affectedUsers": 5, "errors": []}, "details": []}`),
		says(http.StatusAccepted, running),
		says(http.StatusForbidden, `{"error": {"code": "INSUFFICIENT_SCOPE"}}`),
	}}
	c := s.client(t)
	done, err := c.Clean(t.Context(), "account", "x")
	require.NoError(t, err)
	require.Nil(t, done.Operation)
	require.Equal(t, []string{"a", "b"}, done.AffectedUsers)
	goes, err := c.Clean(t.Context(), "account", "x")
	require.NoError(t, err)
	require.Equal(t, "operations/op-1", goes.Operation.Name)
	require.Zero(t, goes.Deleted)

	bulk, err := c.BulkClean(t.Context(), []client.Entity{{Type: "account", ID: "x"}})
	require.NoError(t, err)
	require.Nil(t, bulk.Operation)
	require.EqualValues(t, 5, bulk.Summary.TotalPreferencesDeleted)
	require.JSONEq(t, `{"entities": [{"entityType": "account", "entityId": "x"}]}`, s.bodies[2])
	bulk, err = c.BulkClean(t.Context(), []client.Entity{{Type: "account", ID: "x"}}, client.RespondAsync())
	require.NoError(t, err)
	require.Equal(t, "operations/op-1", bulk.Operation.Name)
	require.Equal(t, "respond-async", s.seen[3].Header.Get("Prefer"))
	require.NotEmpty(t, s.seen[3].Header.Get("Idempotency-Key"))
	_, err = c.BulkClean(t.Context(), nil)
	require.ErrorIs(t, err, client.ErrDenied)
}

func TestAnOperationIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){
			says(http.StatusOK, running, "Retry-After", "1"), says(http.StatusOK, running), says(http.StatusServiceUnavailable, ""), says(http.StatusOK, running), says(http.StatusOK, succeeded),
		}}
		var seen []int64
		op, err := s.client(t).Wait(t.Context(), "operations/op-1", func(o *client.Operation) { seen = append(seen, o.Metadata.Progress.Done) })
		require.NoError(t, err)
		require.Equal(t, []int64{3, 3, 3, 9}, seen)
		require.Equal(t, "/operations/op-1", s.seen[0].URL.Path)
		require.GreaterOrEqual(t, s.at[1].Sub(s.at[0]), time.Second, "as the service asks")
		require.Less(t, s.at[2].Sub(s.at[1]), 200*time.Millisecond)
		report, err := op.Response.AsCleanReport()
		require.NoError(t, err)
		require.EqualValues(t, 4, report.Summary.AffectedUsers)

		s = &service{answers: []func() (*http.Response, error){says(http.StatusOK, running)}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		op, err = s.client(t).Wait(ctx, "op-1", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 3, op.Metadata.Progress.Done, "how far it was")
		require.Less(t, len(s.seen), 100, "it asks more seldom while nothing moves")

		s = &service{answers: []func() (*http.Response, error){says(http.StatusNotFound, "")}}
		_, err = s.client(t).Wait(t.Context(), "op-1", nil)
		require.ErrorIs(t, err, client.ErrNotFound)
	})
}

func TestOperationsAreListedCancelledAndUndone(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){
		says(http.StatusOK, `{"operations": [`+running+`], "nextPageToken": "more"}`), says(http.StatusOK, `{"operations": [`+succeeded+`], "nextPageToken": null}`),
		says(http.StatusOK, running), says(http.StatusAccepted, running), says(http.StatusAccepted, succeeded),
		says(http.StatusConflict, `{"error": {"code": "OPERATION_FINISHED"}}`), says(http.StatusAccepted, running), says(http.StatusAccepted, running),
	}}
	c := s.client(t)
	n := 0
	for op, err := range c.Operations(t.Context(), "bulkClean", "") {
		require.NoError(t, err)
		require.Equal(t, "operations/op-1", op.Name)
		n++
	}
	require.Equal(t, 2, n)
	require.Equal(t, "kind=bulkClean", s.seen[0].URL.RawQuery)
	require.Equal(t, "more", s.seen[1].URL.Query().Get("pageToken"))
	op, err := c.Operation(t.Context(), "operations/op-1")
	require.NoError(t, err)
	require.False(t, op.Done)
	_, err = c.Cancel(t.Context(), op.Name, true)
	require.NoError(t, err)
	require.Equal(t, "/operations/op-1/cancel?undo=true", s.seen[3].URL.RequestURI())
	op, err = c.Cancel(t.Context(), op.Name, false)
	require.NoError(t, err)
	require.True(t, op.Done)
	_, err = c.Undo(t.Context(), op.Name, client.IdempotencyKey("back"))
	require.ErrorIs(t, err, client.ErrConflict)
	require.Equal(t, "/operations/op-1/undo", s.seen[5].URL.Path)
	require.Equal(t, "back", s.seen[5].Header.Get("Idempotency-Key"))
	_, err = c.Reconcile(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, "/operations:reconcile?dryRun=true", s.seen[6].URL.RequestURI())
	_, err = c.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/operations:verify", s.seen[7].URL.RequestURI())
}
