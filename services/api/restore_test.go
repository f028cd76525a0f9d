package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// restore takes the caller's list back.
func (c caller) restore(version int, h ...string) answered {
	c.Helper()
	return c.send(http.MethodPost, "/preferences:restore", fmt.Sprintf(`{"domain":"accounts","version":%d}`, version), h...)
}

// TestEveryVersionComesBackAsItWas: through every kind of write, shown gaps
// included.
func TestEveryVersionComesBackAsItWas(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	var versions []list
	keep := func(l list) { versions = append(versions, l) }
	keep(alice.replace(items0(`{"entityId":"a","attributes":{"n":1.50,"deep":{"x":[1,"é"]}}}`, `{"entityId":"b"}`, `{"entityId":"gap"}`, `{"entityId":"c"}`)).list(http.StatusOK))
	keep(alice.save("c", "gap", "a", "b", "d"))
	alice.send(http.MethodPatch, "/preferences/"+alice.read().find("b").ID, `{"order":1,"attributes":{"y":2}}`).item(http.StatusOK)
	keep(alice.read())
	w.clean(`{"entityId":"gap","entityType":"account","reorder":false}`)
	keep(alice.read())
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"e","order":2}`).item(http.StatusCreated)
	keep(alice.read())
	alice.send(http.MethodDelete, "/preferences/"+alice.read().find("c").ID, "").is(http.StatusNoContent)
	keep(alice.read())
	keep(alice.save())
	for i := len(versions) - 1; i >= 0; i-- {
		was := versions[i]
		l := alice.restore(was.Version).list(http.StatusOK)
		var want []string
		for _, p := range was.Preferences {
			if p.EntityID != "gap" {
				want = append(want, p.EntityID+string(p.Attributes))
			}
		}
		var got []string
		for n, p := range l.Preferences {
			require.Equal(t, n+1, p.Order)
			got = append(got, p.EntityID+string(p.Attributes))
		}
		require.Equal(t, want, got, "version %d", was.Version)
		require.Equal(t, l.Preferences, alice.read().Preferences)
		if len(was.Preferences) > len(want) {
			require.Equal(t, []map[string]string{{"entityId": "gap", "entityType": "account", "reason": "ENTITY_DELETED"}}, l.Skipped)
		}
	}
	require.Positive(t, alice.count("select count(*) from changes where action = 'restore' and actor = 'alice'"))
	require.Equal(t, alice.count("select count(*) from changes where action = 'restore'"),
		alice.count("select count(*) from outbox where type = 'preferences.updated' and convert_from(payload, 'UTF8') like '%\"action\":\"restore\"%'"))
}

func TestARestorationIsAWriteLikeOthers(t *testing.T) {
	w := begin(t, func(o *preferences.Options) { o.RequireCondition = true })
	alice := w.as("alice")
	first := alice.replace(body("a", "b"), "If-None-Match", "*").list(http.StatusOK)
	second := alice.replace(body("c", "a"), "If-Match", first.ETag).list(http.StatusOK)
	w.unchanged(func() {
		alice.restore(1).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
		p := alice.restore(1, "If-Match", first.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		require.Equal(t, second.ETag, p.Error.Details.CurrentETag)
		same := alice.restore(2, "If-Match", second.ETag).list(http.StatusOK)
		require.Equal(t, second.ETag, same.ETag)
		require.Equal(t, summary{Total: 2}, *same.Summary)
		for _, never := range []int{3, 1 << 40} { // 404 before 412
			alice.restore(never, "If-Match", `"stale"`).fails(http.StatusNotFound, "NOT_FOUND")
		}
		w.as("bob").restore(1, "If-Match", `"stale"`).fails(http.StatusNotFound, "NOT_FOUND")
		for _, text := range []string{`{"domain":"nowhere","version":0}`, `{"domain":"nowhere","version":-1}`} {
			alice.send(http.MethodPost, "/preferences:restore", text).fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain", "version")
		}
		alice.send(http.MethodPost, "/preferences:restore", `{"domain":7,"version":"1","x":1}`).fails(http.StatusBadRequest, "INVALID_FIELD", "domain", "version", "x")
		alice.send(http.MethodPost, "/preferences:restore", `{"domain":"accounts","version":9223372036854775808}`).fails(http.StatusBadRequest, "INVALID_FIELD", "version")
	})
	back := alice.restore(1, "If-Match", second.ETag).list(http.StatusOK)
	require.Equal(t, []string{"a:1", "b:2"}, back.shown())
	require.Equal(t, summary{Created: 1, Updated: 1, Deleted: 1, Total: 2}, *back.Summary)
	require.Equal(t, second.find("a").ID, back.find("a").ID)
	require.NotEqual(t, first.find("b").ID, back.find("b").ID)
	brief := alice.restore(2, "If-Match", back.ETag, "Prefer", "return=minimal").is(http.StatusNoContent)
	require.Equal(t, `"`+alice.read().ETag+`"`, brief.Header.Get("ETag"))
}

func TestAVersionThatIsNotKeptAnyMoreIsGone(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	for i := range 5 {
		alice.save(fmt.Sprintf("e-%d", i))
	}
	_, err := w.db.ExecContext(t.Context(), "delete from changes where version < 3")
	require.NoError(t, err)
	w.unchanged(func() {
		for _, version := range []int{1, 2} {
			p := alice.restore(version, "If-Match", `"stale"`).fails(http.StatusGone, "VERSION_EXPIRED")
			require.Equal(t, "OUT_OF_RANGE", p.Error.Status)
		}
	})
	require.Equal(t, []string{"e-2:1"}, alice.restore(3).list(http.StatusOK).shown())
}

// TestARestorationReachesBackOverManyPages of the history.
func TestARestorationReachesBackOverManyPages(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("first")
	for i := range preferences.MaxHistory + 5 {
		alice.save(fmt.Sprintf("e-%d", i%3), "x")
	}
	require.Equal(t, []string{"first:1"}, alice.restore(1).list(http.StatusOK).shown())
}

func TestCase091_OfManyRestorationsEachIsWhole(t *testing.T) {
	alice := begin(t).as("alice")
	for i := range 10 {
		alice.replace(payload(i)).list(http.StatusOK)
	}
	statuses := together(20, func(i int) answered {
		if i%2 == 0 {
			return alice.replace(payload(i))
		}
		return alice.restore(i%10 + 1)
	})
	require.Equal(t, map[int]int{http.StatusOK: 20}, tally(statuses))
	l := alice.read()
	require.Len(t, l.Preferences, 10)
	require.Equal(t, l.Version, alice.events())
}

// TestARepeatedRestorationGetsTheFirstAnswer, whatever of the history has been
// pruned since: a key is looked at before anything that may have changed.
func TestARepeatedRestorationGetsTheFirstAnswer(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save("a", "b")
	alice.save("c")
	first := alice.restore(1, keyHeader, "back").list(http.StatusOK)
	alice.save("d")
	_, err := w.db.ExecContext(t.Context(), "delete from changes where version < 3")
	require.NoError(t, err)
	w.unchanged(func() {
		require.Equal(t, first, alice.restore(1, keyHeader, "back").list(http.StatusOK))
		alice.restore(2, keyHeader, "back").fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
		alice.restore(9, keyHeader, "back").fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
		alice.restore(1, keyHeader, "other").fails(http.StatusGone, "VERSION_EXPIRED")
		alice.restore(9, keyHeader, "other").fails(http.StatusNotFound, "NOT_FOUND")
	})
	_, err = w.db.ExecContext(t.Context(), "delete from preference_lists")
	require.NoError(t, err)
	w.unchanged(func() {
		require.Equal(t, first, alice.restore(1, keyHeader, "back").list(http.StatusOK))
		alice.restore(1, keyHeader, "other").fails(http.StatusNotFound, "NOT_FOUND")
	})
	require.Equal(t, []string{"z:1"}, alice.save("z").shown(), "and a key that nothing was kept under is free")
}
