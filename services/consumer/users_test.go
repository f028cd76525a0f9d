package consumer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/consumer"
)

// user is a record as the owner of users publishes it.
func user(offset int64, typ events.Type, id, userID string, at time.Time) events.Record {
	value := fmt.Sprintf(`{"eventType":%q,"eventId":%q,"timestamp":%q,"data":{"userId":%q}}`, typ, id, at.UTC().Format(time.RFC3339Nano), userID)
	r := record(offset, []byte(userID), []byte(value))
	r.Topic = userEvents
	return r
}

func (h *house) erased(t *testing.T) []events.Erased {
	t.Helper()
	return told[events.Erased](t, h, events.PreferencesErased)
}

// refused says that a user can save nothing any more.
func (h *house) refused(t *testing.T, userID string) {
	t.Helper()
	_, err := h.prefs.Replace(t.Context(), userID, "accounts", preferences.By{Actor: userID}, preferences.Terms{}, []preferences.Input{{EntityID: "acc-1"}})
	require.Equal(t, fault.ReasonUserDeleted, fault.ReasonOf(err), "%v", err)
}

func TestADeletedUserIsErased(t *testing.T) {
	t.Parallel()
	h := open(t)
	list := h.save(t, "user-123", "acc-001", "acc-002").List.ID
	h.save(t, "user-123", "acc-002")
	h.save(t, "user-456", "acc-001")
	_, err := h.admin.ExecContext(t.Context(), `insert into idempotency_keys (user_id, key, fingerprint, status, headers, body)
		select u, 'k', '', 200, '{}', '' from unnest(array['user-123', 'user-456']) u`)
	require.NoError(t, err)
	require.Equal(t, consumer.Applied, h.settle(t, event(0, deleted, "d1", "acc-002", time.Now())), "a clean that names the list")

	require.Equal(t, consumer.Applied, h.settle(t, user(1, events.UserDeleted, "u1", "user-123", time.Now())))
	require.Equal(t, []events.Erased{{UserID: "user-123", Lists: []events.ErasedList{{Domain: "accounts", ListID: list}}}}, h.erased(t))
	require.Empty(t, h.shown(t, "user-123"))
	require.Zero(t, h.count(t, "select count(*) from preference_lists where user_id = 'user-123'"))
	require.Zero(t, h.count(t, "select count(*) from changes where list_id = $1", list), "the history goes as well")
	require.Equal(t, 1, h.count(t, "select count(*) from idempotency_keys"), "and the answers that are kept")
	require.Equal(t, []string{"acc-001:1"}, h.shown(t, "user-456"), "nobody else loses anything")
	h.refused(t, "user-123")
	require.Equal(t, 1, h.count(t, "select count(*) from inbox where topic = 'user.events' and outcome = 'applied'"))

	require.Equal(t, consumer.Duplicate, h.settle(t, user(1, events.UserDeleted, "u1", "user-123", time.Now())))
	require.Len(t, h.erased(t), 1)
}

func TestAUserWithoutListsIsErasedToo(t *testing.T) {
	t.Parallel()
	h := open(t)
	require.Equal(t, consumer.Applied, h.settle(t, user(0, events.UserDeleted, "u1", "jürgen|auth0", time.Now())))
	require.Equal(t, []events.Erased{{UserID: "jürgen|auth0", Lists: []events.ErasedList{}}}, h.erased(t))
	h.refused(t, "jürgen|auth0")
}

func TestAUserWhoComesBackBeginsAnew(t *testing.T) {
	t.Parallel()
	h := open(t)
	before := h.save(t, "user-123", "acc-001")
	now := time.Now()
	require.Equal(t, consumer.Applied, h.settle(t, user(0, events.UserDeleted, "u1", "user-123", now)))
	require.Equal(t, consumer.Applied, h.settle(t, user(1, events.UserCreated, "u2", "user-123", now.Add(time.Second))))
	require.Empty(t, h.shown(t, "user-123"), "nothing comes back")

	after := h.save(t, "user-123", "acc-002")
	require.Greater(t, after.List.ID, before.List.ID)
	require.NotEqual(t, before.List.ETag(), after.List.ETag())

	// A deletion that comes late is older than what is known.
	require.Equal(t, consumer.Applied, h.settle(t, user(2, events.UserDeleted, "u3", "user-123", now.Add(-time.Hour))))
	require.Equal(t, []string{"acc-002:1"}, h.shown(t, "user-123"))
	require.Len(t, h.erased(t), 1)
}

func TestAUserEventWithoutAUserIsADeadLetter(t *testing.T) {
	t.Parallel()
	h := open(t)
	for i, id := range []string{"", "a\x00b"} {
		require.Equal(t, consumer.DeadLettered, h.settle(t, user(int64(i), events.UserDeleted, fmt.Sprint("u", i), id, time.Now())), "%q", id)
	}
	require.Empty(t, h.erased(t))
}

// TestSavesAndAnErasureMeet: whatever a save was doing when its user was
// deleted, afterwards nothing of the user is there, and nothing can be added.
func TestSavesAndAnErasureMeet(t *testing.T) {
	t.Parallel()
	h := open(t)
	const users, writers = 6, 3
	begun, stop := make(chan struct{}, users*writers), make(chan struct{})
	var wg sync.WaitGroup
	for u := range users {
		id := fmt.Sprintf("user-%d", u)
		if u%2 == 0 {
			h.save(t, id, "acc-1", "acc-2") // the others meet their first save
		}
		for w := range writers {
			wg.Go(func() {
				begun <- struct{}{}
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					in := []preferences.Input{{EntityID: fmt.Sprint("acc-", n%5)}, {EntityID: fmt.Sprint("own-", w)}}
					_, err := h.prefs.Replace(context.WithoutCancel(t.Context()), id, "accounts", preferences.By{Actor: id}, preferences.Terms{}, in)
					if err != nil && fault.ReasonOf(err) != fault.ReasonUserDeleted {
						t.Errorf("a save met an erasure: %v", err)
						return
					}
				}
			})
		}
	}
	for range users * writers {
		<-begun
	}
	for u := range users {
		id := fmt.Sprintf("user-%d", u)
		require.NoError(t, h.Settle(t.Context(), event(int64(2*u), deleted, fmt.Sprint("d", u), fmt.Sprint("acc-", u%5), time.Now()), 1))
		require.NoError(t, h.Settle(t.Context(), user(int64(2*u+1), events.UserDeleted, fmt.Sprint("u", u), id, time.Now()), 1))
		require.Empty(t, h.shown(t, id))
		h.refused(t, id)
	}
	close(stop)
	wg.Wait()
	require.Zero(t, h.count(t, "select count(*) from preference_lists"))
	require.Zero(t, h.count(t, "select count(*) from changes"))
	require.Len(t, h.erased(t), users)
}
