package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// TestOperationsThatEndedLongAgoAreForgotten: but not who asked for them, and
// never what goes on.
func TestOperationsThatEndedLongAgoAreForgotten(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x", "y", "z")
	old := w.async("x")
	w.work(func() {})
	w.admin().send(http.MethodPost, old.path()+"/undo", "").is(http.StatusAccepted)
	w.work(func() {})
	young := w.async("y")
	w.work(func() {})
	open := w.async("z")
	_, err := w.db.ExecContext(t.Context(), `update operations set created_at = created_at - interval '31 days',
		finished_at = finished_at - interval '31 days', undone_at = undone_at - interval '31 days' where id <> $1`, uuid.MustParse(young.Name[len("operations/"):]))
	require.NoError(t, err)
	from := "/auditEvents?startTime=" + url.QueryEscape(time.Now().Add(-31*24*time.Hour-time.Hour).Format(time.RFC3339)) +
		"&endTime=" + url.QueryEscape(time.Now().Add(-30*24*time.Hour-time.Hour).Format(time.RFC3339))
	type trace struct{ Type, Actor, Operation, State string }
	told := func() (out []trace) {
		t.Helper()
		var page struct{ AuditEvents []trace }
		w.admin().send(http.MethodGet, from, "").is(http.StatusOK).into(&page)
		return page.AuditEvents
	}
	before := told()
	require.Contains(t, before, trace{"operationUndone", "root", old.Name, "compensated"})
	require.Contains(t, before, trace{"operationCalled", "svc", old.Name, "compensated"})

	pruned, err := w.store.PruneOperations(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 1, pruned, "what has not ended, or not long ago, stays")
	w.system().send(http.MethodGet, old.path(), "").fails(http.StatusNotFound, "NOT_FOUND")
	require.True(t, w.operation(young).Done)
	require.False(t, w.operation(open).Done)
	require.Zero(t, w.count("select count(*) from operation_steps where operation_id not in (select id from operations)"))
	require.ElementsMatch(t, before, told(), "who asked for what is still known")

	pruned, err = w.store.PruneOperations(t.Context(), 100)
	require.NoError(t, err)
	require.Zero(t, pruned)
	_, err = w.db.ExecContext(t.Context(), "update operation_calls set at = at - interval '60 days'")
	require.NoError(t, err)
	_, err = w.store.PruneOperations(t.Context(), 100)
	require.NoError(t, err)
	require.Zero(t, w.count("select count(*) from operation_calls"))
}

// TestALookAtTheWholeDatabaseTellsWhatIsBroken: by invariant, with samples.
func TestALookAtTheWholeDatabaseTellsWhatIsBroken(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a", "b", "c")
	w.as("bob").save("a")
	runs := &verify.Runs{Store: w.store}
	look := func() (q verify.Quality) {
		t.Helper()
		var begun operation
		w.system().send(http.MethodPost, "/operations:verify", "").is(http.StatusAccepted).into(&begun)
		held, found, err := w.store.Claim(t.Context(), "here", time.Minute, preferences.KindVerify)
		require.NoError(t, err)
		require.True(t, found)
		require.NoError(t, runs.Run(t.Context(), held, func() {}))
		o := w.operation(begun)
		require.Equal(t, "succeeded", o.Metadata.State)
		require.NoError(t, json.Unmarshal(o.Response, &q))
		return q
	}
	q := look()
	require.True(t, q.Sound)
	require.Equal(t, 2, q.Lists)
	require.Equal(t, 4, q.Items)
	require.Len(t, q.Invariants, 10)

	_, err := w.db.ExecContext(t.Context(), "update preferences set position = position + 2 where entity_id = 'b'")
	require.NoError(t, err)
	q = look()
	require.False(t, q.Sound)
	require.Positive(t, q.Violations)
	for _, s := range q.Invariants {
		if s.Invariant == "I8" {
			require.Equal(t, 1, s.Violations)
			require.Len(t, s.Samples, 1)
			require.Contains(t, s.Samples[0].Problem, "replays to another list")
		}
	}
	_, err = w.db.ExecContext(t.Context(), "update preferences set position = position - 2 where entity_id = 'b'")
	require.NoError(t, err)

	var begun operation
	w.system().send(http.MethodPost, "/operations:verify", "").is(http.StatusAccepted).into(&begun)
	w.system().send(http.MethodPost, begun.path()+"/cancel", "").is(http.StatusAccepted)
	held, _, err := w.store.Claim(t.Context(), "here", time.Minute, preferences.KindVerify)
	require.NoError(t, err)
	require.NoError(t, runs.Run(t.Context(), held, func() {}))
	require.Equal(t, "cancelled", w.operation(begun).Metadata.State)
}
