package consumer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// A report names the first thousand of what it found; the counters count all.
func TestEveryLiftedEntityIsCounted(t *testing.T) {
	t.Parallel()
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := struct {
			Accounts []map[string]string `json:"accounts"`
			NotFound []string            `json:"notFound"`
		}{[]map[string]string{}, []string{}}
		for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
			answer.Accounts = append(answer.Accounts, map[string]string{"id": id})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(owner.Close)
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	_, err := h.admin.ExecContext(t.Context(), `insert into deleted_entities (entity_type, entity_id, deleted, state_at, source, cleaned_at)
		select 'account', 'acc-' || n, true, now() - interval '1 day', 'operation:test', now() from generate_series(1, 1100) n`)
	require.NoError(t, err)
	c := launch(t, url, broker.Addrs(), "--directory-url="+owner.URL+"/accounts", "--reconcile-max-share=1", "--reconcile-schedule=")
	_, err = h.prefs.BeginRun(t.Context(), preferences.By{Actor: "tester"}, preferences.KindReconcile, preferences.RunRequest{})
	require.NoError(t, err)
	h.await(t, "select count(*) from operations where state = 'succeeded'")
	require.Zero(t, h.count(t, "select count(*) from deleted_entities where deleted"))
	eventually(t, "all are counted", func() bool {
		_, metrics := c.get(t, "/metrics")
		return strings.Contains(metrics, "prefs_reconciliation_lifted_total 1100\n") && strings.Contains(metrics, "prefs_reconciliation_orphans_total 0\n")
	})
}

// The consumer looks at the whole database when it is asked to, and counts what
// it finds.
func TestWhatALookAtTheDatabaseFindsIsCounted(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	h.save(t, "u", "a", "b")
	_, err := h.admin.ExecContext(t.Context(), "update preferences set position = 9 where entity_id = 'a'")
	require.NoError(t, err)
	c := launch(t, url, broker.Addrs())
	_, err = h.prefs.BeginRun(t.Context(), preferences.By{Actor: "tester"}, preferences.KindVerify, preferences.RunRequest{})
	require.NoError(t, err)
	h.await(t, "select count(*) from operations where kind = 'verify' and state = 'succeeded' and not (result->>'sound')::boolean")
	eventually(t, "it is counted", func() bool {
		_, metrics := c.get(t, "/metrics")
		return strings.Contains(metrics, `prefs_verify_violations_total{invariant="I8"} 1`) && strings.Contains(metrics, "prefs_verify_runs_total 1")
	})
	_, err = h.admin.ExecContext(t.Context(), "update preferences set position = 1 where entity_id = 'a'")
	require.NoError(t, err)
}
