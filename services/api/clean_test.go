package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type cleaned struct {
	Deleted       int
	AffectedUsers []string
	Reordered     bool
}

// clean takes an entity out of every list.
func (w *world) clean(body string) (out cleaned) {
	w.Helper()
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", body).is(http.StatusOK).into(&out)
	return out
}

func TestACleanReachesEveryList(t *testing.T) {
	w := begin(t)
	for _, user := range []string{"carol", "alice", "bob"} {
		w.as(user).save("a", "gone", "b")
	}
	w.as("dave").save("a")
	require.Equal(t, cleaned{3, []string{"alice", "bob", "carol"}, true}, w.clean(`{"entityId":"gone","entityType":"account"}`))
	for _, user := range []string{"carol", "alice", "bob"} {
		require.Equal(t, []string{"a:1", "b:2"}, w.as(user).read().shown())
	}
	require.Equal(t, 1, w.as("dave").read().Version)
	require.Equal(t, 1, w.count("select count(*) from outbox where type = 'preferences.cleaned'"))
	require.Equal(t, 3, w.count("select count(*) from changes where action = 'clean'"))
}

func TestCase112_CleaningTheUnknownFindsNothing(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	res := w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"nobody-has-it","entityType":"account"}`).is(http.StatusOK)
	require.JSONEq(t, `{"deleted":0,"affectedUsers":[],"reordered":true}`, res.text)
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, 1, w.as("alice").read().Version)
}

func TestCase113_ASecondCleanFindsNothing(t *testing.T) {
	w := begin(t)
	w.as("alice").save("gone", "b")
	require.Equal(t, 1, w.clean(`{"entityId":"gone","entityType":"account"}`).Deleted)
	again := w.clean(`{"entityId":"gone","entityType":"account"}`)
	require.Equal(t, cleaned{0, []string{}, true}, again)
	require.Equal(t, 2, w.as("alice").read().Version)
}

func TestCase114_WithoutReorderAGapStays(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	before := alice.save("a", "gone", "b", "c")
	require.Equal(t, cleaned{1, []string{"alice"}, false}, w.clean(`{"entityId":"gone","entityType":"account","reorder":false}`))
	l := alice.read()
	require.Equal(t, []string{"a:1", "b:3", "c:4"}, l.shown())
	require.Equal(t, before.find("b"), l.find("b"), "who keeps its number keeps its tag")
	// Attributes leave the gap alone, the next change of order closes it.
	alice.patch(l.find("c").ID, `{"attributes":{"x":1}}`).item(http.StatusOK)
	require.Equal(t, []string{"a:1", "b:3", `c:4{"x":1}`}, alice.read().shown())
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"d"}`).item(http.StatusCreated)
	require.Equal(t, []string{"a:1", "b:2", `c:3{"x":1}`, "d:4"}, alice.read().shown())
}

// TestCase114_WhateverChangesTheOrderClosesTheGap, and what does not leaves it.
func TestCase114_WhateverChangesTheOrderClosesTheGap(t *testing.T) {
	w := begin(t)
	for name, c := range map[string]struct {
		write func(alice caller, l list) answered
		shown []string
	}{
		"move":          {func(c caller, l list) answered { return c.patch(l.find("c").ID, `{"order":1}`) }, []string{"c:1", "a:2", "b:3"}},
		"move in place": {func(c caller, l list) answered { return c.patch(l.find("b").ID, `{"order":2}`) }, []string{"a:1", "b:3", "c:4"}},
		"batch": {func(c caller, l list) answered {
			return c.send(http.MethodPost, batchPath, batch(l.find("a").moves(3)))
		}, []string{"b:1", "c:2", "a:3"}},
		"batch in place": {func(c caller, l list) answered {
			return c.send(http.MethodPost, batchPath, batch(l.find("a").moves(1)))
		}, []string{"a:1", "b:3", "c:4"}},
		"delete":      {func(c caller, l list) answered { return c.send(http.MethodDelete, "/preferences/"+l.find("a").ID, "") }, []string{"b:1", "c:2"}},
		"save":        {func(c caller, _ list) answered { return c.replace(body("b", "a", "c")) }, []string{"b:1", "a:2", "c:3"}},
		"same save":   {func(c caller, _ list) answered { return c.replace(body("a", "b", "c")) }, []string{"a:1", "b:3", "c:4"}},
		"echo":        {func(c caller, l list) answered { return c.replace(items0(l.echo()...)) }, []string{"a:1", "b:3", "c:4"}},
		"restoration": {func(c caller, _ list) answered { return c.restore(1) }, []string{"a:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			alice := w.in(t).as("alice " + name)
			alice.save("a")
			gone := strings.ReplaceAll("gone "+name, " ", "-")
			alice.save("a", gone, "b", "c")
			w.in(t).clean(`{"entityId":"` + gone + `","entityType":"account","reorder":false}`)
			l := alice.read()
			require.Equal(t, []string{"a:1", "b:3", "c:4"}, l.shown())
			c.write(alice, l)
			require.Equal(t, c.shown, alice.read().shown())
		})
	}
}

// echo is the list's items as a save sends them.
func (l list) echo() []string {
	out := make([]string, len(l.Preferences))
	for i, p := range l.Preferences {
		out[i] = fmt.Sprintf(`{"entityId":%q,"order":%d}`, p.EntityID, p.Order)
	}
	return out
}

func TestCleansThatAreRefused(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	for name, c := range map[string]struct {
		body, code string
		status     int
		field      string
	}{
		"unknown type":    {`{"entityId":"a","entityType":"boat"}`, "UNKNOWN_ENTITY_TYPE", http.StatusUnprocessableEntity, "entityType"},
		"users":           {`{"entityId":"alice","entityType":"$user"}`, "UNKNOWN_ENTITY_TYPE", http.StatusUnprocessableEntity, "entityType"},
		"no type":         {`{"entityId":"a"}`, "INVALID_FIELD", http.StatusBadRequest, "entityType"},
		"no id":           {`{"entityType":"account"}`, "INVALID_FIELD", http.StatusBadRequest, "entityId"},
		"bad id":          {`{"entityId":"a b","entityType":"account"}`, "INVALID_FIELD", http.StatusBadRequest, "entityId"},
		"reorder as text": {`{"entityId":"a","entityType":"account","reorder":"no"}`, "INVALID_FIELD", http.StatusBadRequest, "reorder"},
		"unknown member":  {`{"entityId":"a","entityType":"account","force":true}`, "INVALID_FIELD", http.StatusBadRequest, "force"},
		"list":            {`[{"entityId":"a","entityType":"account"}]`, "INVALID_FIELD", http.StatusBadRequest, "$"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.unchanged(func() {
				w.system().send(http.MethodPost, "/preferences:cleanOrphaned", c.body).fails(c.status, c.code, c.field)
			})
		})
	}
}
