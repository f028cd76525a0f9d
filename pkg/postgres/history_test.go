package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// TestThePageIsAllThatIsSent: where many deltas are large, the server must not
// send those that the page has no room for; it would be cut off for taking too
// long.
func TestThePageIsAllThatIsSent(t *testing.T) {
	t.Parallel()
	h, w := openWiredUnchecked(t)
	h.save(t, "alice", "a")
	token := h.list(t, "alice").SyncToken()
	const versions = 30
	h.heavy(t, versions)
	ask := func(statement string, fn func() error) {
		t.Helper()
		w.Cut(pgtest.Cut{Mark: statement + "\x00", Bytes: pgtest.Everything})
		require.NoError(t, fn(), statement)
		require.True(t, w.Fired(), statement)
		require.Less(t, w.Answered(), preferences.MaxHistoryBytes*3/2, statement)
	}
	ask("history", func() error {
		_, err := h.History(t.Context(), preferences.HistoryQuery{UserID: "alice", Domain: "accounts"})
		return err
	})
	ask("since", func() error {
		_, err := h.Sync(t.Context(), "alice", "accounts", token)
		require.Equal(t, fault.ReasonSyncTokenExpired, fault.ReasonOf(err))
		return nil
	})
	ask("audituser", func() error {
		_, err := h.Audit(t.Context(), preferences.AuditQuery{UserID: "alice"})
		return err
	})
	ask("auditrange", func() error {
		_, err := h.Audit(t.Context(), preferences.AuditQuery{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)})
		return err
	})
}

// list reads a user's list.
func (h *house) list(t *testing.T, user string) preferences.List {
	t.Helper()
	l, err := h.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	return l
}

// heavy makes up versions of the only list, of whose deltas three exceed a page.
func (h *house) heavy(t *testing.T, versions int) {
	t.Helper()
	_, err := h.admin.Exec(t.Context(), `insert into changes (list_id, version, changed_at, action, actor, delta)
		select list_id, v, changed_at + v * interval '1 second', 'replace', 'alice', jsonb_build_object('filler', repeat('x', $1))
		from changes, generate_series(2, $2) v`, preferences.MaxHistoryBytes/3, versions)
	require.NoError(t, err)
	_, err = h.admin.Exec(t.Context(), `update preference_lists set version = $1`, versions)
	require.NoError(t, err)
}

// TestAPageOfTheHistoryIsBoundedInBytes: a delta may hold all attributes of a
// list twice, so that a page of them must end before it is full.
func TestAPageOfTheHistoryIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	h := openUnchecked(t, pgtest.New(t))
	h.save(t, "alice", "a")
	const versions = 10
	h.heavy(t, versions)

	var seen []int64
	for q := (preferences.HistoryQuery{UserID: "alice", Domain: "accounts"}); ; {
		page, err := h.History(t.Context(), q)
		require.NoError(t, err)
		bytes := 0
		for _, c := range page.Changes {
			seen, bytes = append(seen, c.Version), bytes+len(c.Delta)
		}
		require.LessOrEqual(t, bytes, preferences.MaxHistoryBytes)
		if q.Token = page.NextToken; q.Token == "" {
			break
		}
		require.Len(t, page.Changes, 2)
	}
	require.Equal(t, []int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, seen)

	for _, q := range []preferences.AuditQuery{
		{UserID: "alice"},
		{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)},
	} {
		seen = nil
		for {
			page, err := h.Audit(t.Context(), q)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Events), 3)
			for _, e := range page.Events {
				seen = append(seen, e.Change.Version)
			}
			if q.Token = page.NextToken; q.Token == "" {
				break
			}
		}
		require.Equal(t, []int64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, seen)
	}

	token := func(version int64) string {
		l := preferences.List{ID: 1, UserID: "alice", Domain: "accounts", Version: version}
		require.NoError(t, h.admin.QueryRow(t.Context(), `select list_id, changed_at from changes where version = $1`, version).Scan(&l.ID, &l.UpdateTime))
		return l.SyncToken()
	}
	_, err := h.Sync(t.Context(), "alice", "accounts", token(2))
	require.ErrorContains(t, err, "SYNC_TOKEN_EXPIRED", "a delta that is larger than any list is not worth reading")
}

// TestAuditOfAllReadsInWindows: what is far apart, and much in one window, comes
// exactly once and newest first.
func TestAuditOfAllReadsInWindows(t *testing.T) {
	t.Parallel()
	h := openUnchecked(t, pgtest.New(t))
	for _, user := range []string{"alice", "bob", "carol"} {
		h.save(t, user, "a")
	}
	// Of three lists, versions in growing distances from the end of the range, each twice at one moment.
	end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	_, err := h.admin.Exec(t.Context(), `insert into changes (list_id, version, changed_at, action, actor, delta)
		select list_id, 20 - v, $1::timestamptz - (2 ^ v) * interval '1 second', 'replace', 'alice', '{}' from changes, generate_series(0, 18) v`, end)
	require.NoError(t, err)
	q := preferences.AuditQuery{From: end.Add(-30 * 24 * time.Hour), To: end, Size: 7}
	type key struct{ list, version int64 }
	var all []preferences.Change
	seen := map[key]bool{}
	for {
		page, err := h.Audit(t.Context(), q)
		require.NoError(t, err)
		for _, e := range page.Events {
			seen[key{e.Change.ListID, e.Change.Version}] = true
			all = append(all, *e.Change)
		}
		if q.Token = page.NextToken; q.Token == "" {
			break
		}
		require.Len(t, page.Events, 7)
	}
	require.Len(t, all, 3*19)
	require.Len(t, seen, 3*19, "each once")
	for i := 1; i < len(all); i++ {
		require.False(t, all[i].Time.After(all[i-1].Time), "newest first")
	}
}

// TestASlowClockHidesNothing: a replica whose own clock is hours behind shows
// what happened a moment ago.
func TestASlowClockHidesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "alice", "a")
	begun, err := h.BeginRun(t.Context(), alice, preferences.KindVerify, preferences.RunRequest{})
	require.NoError(t, err)
	slow := preferences.New(preferences.Options{
		Store: h.store, Announcer: h.announcer, Now: func() time.Time { return time.Now().Add(-3 * time.Hour) },
	})
	operations, err := slow.Operations(t.Context(), preferences.OperationQuery{})
	require.NoError(t, err)
	require.Len(t, operations.Operations, 1)
	require.Equal(t, begun.ID, operations.Operations[0].ID)
	audit, err := slow.Audit(t.Context(), preferences.AuditQuery{From: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Len(t, audit.Events, 2, "the save and the call for the run")
}
