package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

const cleanGone = `{"entityId":"gone","entityType":"account"}`

// abandoned is a clean with the key "clean" whose caller left when half of it
// was done, in the hands of the runner.
func abandoned(w *world) preferences.Held {
	w.Helper()
	for _, user := range []string{"bob", "alice"} {
		w.as(user).save("a", "gone")
	}
	held, err := w.db.BeginTx(w.Context(), nil)
	require.NoError(w, err)
	_, err = held.ExecContext(w.Context(), "select 1 from preference_lists where user_id = 'bob' for update")
	require.NoError(w, err)
	ctx, leave := context.WithCancel(w.Context())
	by := preferences.By{Actor: "svc", RequestID: "r", Once: &preferences.Once{Key: "clean"}}
	gone := make(chan error, 1)
	go func() {
		_, err := w.prefs.CleanOrphaned(ctx, by, preferences.Entity{Type: "account", ID: "gone"}, true)
		gone <- err
	}()
	require.Eventually(w, func() bool { return w.count("select count(*) from operations where done = 1") == 1 }, 10*time.Second, 5*time.Millisecond)
	leave()
	require.Error(w, <-gone)
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", cleanGone, keyHeader, "clean").fails(http.StatusConflict, "REQUEST_IN_PROGRESS")
	require.NoError(w, held.Rollback())
	_, err = w.db.ExecContext(w.Context(), "update operations set lease_until = 'epoch'")
	require.NoError(w, err)
	open, found, err := w.store.Claim(w.Context(), "runner", time.Minute, preferences.KindClean)
	require.NoError(w, err)
	require.True(w, found)
	return open
}

// TestACleanWhoseCallerLeftIsAnsweredWhenItIsDone: its key commits with the
// operation, which others carry on.
func TestACleanWhoseCallerLeftIsAnsweredWhenItIsDone(t *testing.T) {
	w := begin(t)
	require.NoError(t, w.prefs.Run(t.Context(), abandoned(w), func() {}))
	w.unchanged(func() {
		res := w.system().send(http.MethodPost, "/preferences:cleanOrphaned", cleanGone, keyHeader, "clean").is(http.StatusOK)
		require.JSONEq(t, `{"deleted":2,"affectedUsers":["alice","bob"],"reordered":true}`, res.text)
	})
}

func TestACleanThatFailedIsTriedAgainUnderItsKey(t *testing.T) {
	w := begin(t)
	ended, err := w.prefs.GiveUp(t.Context(), abandoned(w), errors.New("given up"))
	require.NoError(t, err)
	require.True(t, ended)
	send := func() string {
		return w.system().send(http.MethodPost, "/preferences:cleanOrphaned", cleanGone, keyHeader, "clean").is(http.StatusOK).text
	}
	require.JSONEq(t, `{"deleted":1,"affectedUsers":["bob"],"reordered":true}`, send())
	w.unchanged(func() { require.JSONEq(t, `{"deleted":1,"affectedUsers":["bob"],"reordered":true}`, send()) })
}
