package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

const batchPath = "/preferences:batchUpdate"

// batch is the body of a change of several items.
func batch(changes ...string) string {
	return `{"domain":"accounts","updates":[` + strings.Join(changes, ",") + `]}`
}

// moves is a change of an item's order.
func (p preference) moves(order int) string { return fmt.Sprintf(`{"id":%q,"order":%d}`, p.ID, order) }

// gets is a change of an item's attributes.
func (p preference) gets(attributes string) string {
	return fmt.Sprintf(`{"id":%q,"attributes":%s}`, p.ID, attributes)
}

func TestCase105_TwoItemsChangePlaces(t *testing.T) {
	for _, method := range []string{http.MethodPatch, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			alice := begin(t).as("alice")
			before := alice.save("a", "b", "c")
			l := alice.send(method, batchPath, batch(before.find("a").moves(2), before.find("b").moves(1))).list(http.StatusOK)
			require.Equal(t, []string{"b:1", "a:2", "c:3"}, l.shown())
			require.Equal(t, summary{Updated: 2, Total: 3}, *l.Summary)
			require.Equal(t, before.Version+1, l.Version)
			require.Equal(t, l.Preferences, alice.read().Preferences)
			require.Equal(t, 2, alice.events())
			require.Equal(t, 1, alice.count("select count(*) from changes where action = 'update'"))
		})
	}
}

// TestOrdersOfABatchAreThoseAfterwards: whatever comes first in the body.
func TestOrdersOfABatchAreThoseAfterwards(t *testing.T) {
	alice := begin(t).as("alice")
	for name, c := range map[string]struct {
		moves map[string]int
		shown []string
	}{
		"one to the top":        {map[string]int{"e": 1}, []string{"e:1", "a:2", "b:3", "c:4", "d:5"}},
		"one to the end":        {map[string]int{"a": 5}, []string{"b:1", "c:2", "d:3", "e:4", "a:5"}},
		"all turned round":      {map[string]int{"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}, []string{"e:1", "d:2", "c:3", "b:4", "a:5"}},
		"the others close up":   {map[string]int{"a": 3, "c": 5}, []string{"b:1", "d:2", "a:3", "e:4", "c:5"}},
		"its own place is kept": {map[string]int{"b": 2, "e": 1}, []string{"e:1", "b:2", "a:3", "c:4", "d:5"}},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			l := alice.save("a", "b", "c", "d", "e")
			var forth, back []string
			for entity, order := range c.moves {
				forth, back = append(forth, l.find(entity).moves(order)), append([]string{l.find(entity).moves(order)}, back...)
			}
			require.Equal(t, c.shown, alice.send(http.MethodPatch, batchPath, batch(forth...)).list(http.StatusOK).shown())
			alice.save("a", "b", "c", "d", "e")
			require.Equal(t, c.shown, alice.send(http.MethodPatch, batchPath, batch(back...)).list(http.StatusOK).shown())
		})
	}
}

func TestABatchMergesAttributes(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.replace(items0(`{"entityId":"a","attributes":{"x":1,"deep":{"y":2,"z":3}}}`, `{"entityId":"b"}`)).list(http.StatusOK)
	changed := alice.send(http.MethodPatch, batchPath,
		batch(l.find("a").gets(`{"x":null,"deep":{"z":4}}`), l.find("b").gets(`{"new":true}`))).list(http.StatusOK)
	require.Equal(t, []string{`a:1{"deep":{"y":2,"z":4}}`, `b:2{"new":true}`}, changed.shown())
	alice.unchanged(func() { // case 98
		again := alice.send(http.MethodPatch, batchPath, batch(l.find("a").gets(`{}`), l.find("b").moves(2))).list(http.StatusOK)
		require.Equal(t, changed.ETag, again.ETag)
		require.Equal(t, summary{Total: 2}, *again.Summary)
	})
}

func TestCase106_OneUnknownIdRefusesTheWholeBatch(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	l, foreign := alice.save("a", "b"), w.as("bob").save("a").Preferences[0]
	unknown := preference{ID: "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69"}
	w.unchanged(func() {
		for _, other := range []preference{foreign, unknown} {
			res := alice.send(http.MethodPatch, batchPath, batch(l.find("a").moves(2), other.gets(`{"x":1}`)), "If-Match", `"stale"`)
			p := res.fails(http.StatusNotFound, "NOT_FOUND", "updates[1].id")
			require.Equal(t, 1, *p.Error.Details.Index)
		}
	})
}

func TestCase107_WhatABatchMayNotSay(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a", "b")
	a, b := l.find("a"), l.find("b")
	var crowd []string
	for range 1001 {
		crowd = append(crowd, a.moves(1))
	}
	for name, c := range map[string]struct {
		body, code string
		fields     []string
	}{
		"an item twice":        {batch(a.moves(1), b.moves(2), a.gets(`{}`)), "DUPLICATE_ENTITY", []string{"updates[2].id"}},
		"an order twice":       {batch(a.moves(2), b.moves(2)), "ORDER_CONFLICT", []string{"updates[1].order"}},
		"orders outside":       {batch(a.moves(3), b.moves(4)), "INVALID_FIELD", []string{"updates[0].order", "updates[1].order"}},
		"no orders":            {batch(a.moves(0), b.moves(-1)), "INVALID_FIELD", []string{"updates[0].order", "updates[1].order"}},
		"no ids":               {batch(`{"order":1}`, `{"id":"x"}`, `{"id":"{`+a.ID+`}"}`), "INVALID_FIELD", []string{"updates[0].id", "updates[1].id", "updates[2].id"}},
		"no attributes":        {batch(a.gets(`null`), b.gets(`[]`)), "INVALID_FIELD", []string{"updates[0].attributes", "updates[1].attributes"}},
		"no tag":               {batch(`{"id":"` + a.ID + `","etag":"\"x"}`), "MALFORMED_PRECONDITION", []string{"updates[0].etag"}},
		"nothing":              {batch(), "INVALID_FIELD", []string{"updates"}},
		"no updates":           {`{"domain":"accounts"}`, "INVALID_FIELD", []string{"updates"}},
		"too many":             {batch(crowd...), "TOO_MANY_ITEMS", []string{"updates"}},
		"another domain":       {`{"domain":"other","updates":[{"id":"` + a.ID + `"}]}`, "UNKNOWN_DOMAIN", []string{"domain"}},
		"form and content":     {batch(`{"id":"x","order":"1","typo":1}`), "INVALID_FIELD", []string{"updates[0].id", "updates[0].order", "updates[0].typo"}},
		"identity is not said": {batch(`{"id":"` + a.ID + `","entityId":"a"}`), "INVALID_FIELD", []string{"updates[0].entityId"}},
		"too large afterwards": {batch(a.gets(`{"x":"` + strings.Repeat("x", 16<<10) + `"}`)), "INVALID_FIELD", []string{"updates[0].attributes"}},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			alice.unchanged(func() {
				alice.send(http.MethodPatch, batchPath, c.body, "If-Match", `"stale"`).fails(http.StatusBadRequest, c.code, c.fields...)
			})
		})
	}
}

func TestCase108_AStaleTagOfOneItemRefusesTheWholeBatch(t *testing.T) {
	alice := begin(t).as("alice")
	old := alice.save("a", "b")
	alice.send(http.MethodPatch, "/preferences/"+old.find("b").ID, `{"attributes":{"x":1}}`).item(http.StatusOK)
	now := alice.read()
	a, b := now.find("a"), now.find("b")
	with := func(p preference, tag string) string { return fmt.Sprintf(`{"id":%q,"order":2,"etag":%q}`, p.ID, tag) }
	without := func(p preference) string { return fmt.Sprintf(`{"id":%q,"attributes":{"y":1}}`, p.ID) }
	for _, stale := range []string{old.find("b").ETag, `W/"` + b.ETag + `"`, now.ETag} {
		alice.unchanged(func() {
			res := alice.send(http.MethodPatch, batchPath, batch(without(a), with(b, stale)))
			p := res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
			require.Equal(t, 1, *p.Error.Details.Index)
			require.Equal(t, b.ETag, p.Error.Details.CurrentETag)
			require.Equal(t, b.Name, p.Error.Details.ResourceName)
			require.Equal(t, b.UpdateTime, *p.Error.Details.LastModified)
			require.Equal(t, `"`+b.ETag+`"`, res.Header.Get("ETag"))
			// The condition on the list comes first, and has no index.
			p = alice.send(http.MethodPatch, batchPath, batch(with(b, stale)), "If-Match", old.ETag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
			require.Nil(t, p.Error.Details.Index)
			require.Equal(t, now.ETag, p.Error.Details.CurrentETag)
		})
	}
	alice.send(http.MethodPatch, batchPath, batch(without(a), with(b, b.ETag)), "If-Match", now.ETag).list(http.StatusOK)
	alice.send(http.MethodPatch, batchPath+"?force=true", batch(with(b, old.find("b").ETag), without(a))).list(http.StatusOK)
	forced := alice.send(http.MethodPatch, batchPath+"?force=true", batch(`{"id":"`+b.ID+`","order":1,"etag":"stale"}`)).list(http.StatusOK)
	require.Equal(t, 1, alice.count("select count(*) from changes where forced and version = $1", forced.Version))
}

func TestCase093_TagsOfAllItemsAreConditionEnough(t *testing.T) {
	alice := begin(t, func(o *preferences.Options) { o.RequireCondition = true }).as("alice")
	l := alice.replace(body("a", "b"), "If-None-Match", "*").list(http.StatusOK)
	a, b := l.find("a"), l.find("b")
	alice.unchanged(func() {
		for _, method := range []string{http.MethodPatch, http.MethodPost} {
			alice.send(method, batchPath, batch(a.moves(2))).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
			alice.send(method, batchPath, batch(fmt.Sprintf(`{"id":%q,"etag":%q}`, a.ID, a.ETag), b.moves(1))).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
		}
		alice.send(http.MethodPost, "/preferences:batchReplace", body("b")).fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
	})
	alice.send(http.MethodPatch, batchPath, batch(fmt.Sprintf(`{"id":%q,"etag":%q,"order":2}`, a.ID, a.ETag))).list(http.StatusOK)
}

func TestCase109_ABriefAnswerHasItsTagsAndNoBody(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a", "b", "gone")
	id := l.find("a").ID
	last := ""
	for _, c := range []struct{ method, target, body string }{
		{http.MethodPut, "/preferences:batchReplace", body("b", "a")},
		{http.MethodPost, "/preferences:batchReplace", body("a", "b")},
		{http.MethodPatch, batchPath, batch(l.find("a").moves(2))},
		{http.MethodPost, batchPath, batch(l.find("a").moves(1))},
		{http.MethodPatch, "/preferences/" + id, `{"attributes":{"x":1}}`},
		{http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"new"}`},
	} {
		for _, h := range []string{"return=minimal", `respond-async, RETURN="minimal"`, "wait=3,return = minimal"} {
			res := alice.send(c.method, c.target, c.body, "Prefer", h, keyHeader, c.method+c.target).is(http.StatusNoContent)
			require.Empty(t, res.text)
			require.Equal(t, "return=minimal", res.Header.Get("Preference-Applied"))
			require.Regexp(t, `^"[A-Za-z0-9_-]{16}"$`, res.Header.Get("ETag"))
			require.NotEqual(t, last, res.Header.Get("ETag"), "%s: three times the same, then another", c.target)
			if c.target == "/preferences" {
				require.Equal(t, "/preferences/"+alice.read().find("new").ID, res.Header.Get("Location"))
			}
		}
		last = alice.read().ETag
		if strings.HasPrefix(c.target, "/preferences:") {
			require.Equal(t, `"`+last+`"`, alice.send(c.method, c.target, c.body, "Prefer", "return=minimal").is(http.StatusNoContent).Header.Get("ETag"))
		}
	}
	for _, h := range []string{"return=representation, return=minimal", "minimal", "return", "returns=minimal", ""} {
		res := alice.send(http.MethodPatch, "/preferences/"+id, `{}`, "Prefer", h)
		res.item(http.StatusOK)
		require.Empty(t, res.Header.Get("Preference-Applied"))
	}
}

func TestCase110_ARehearsalWritesNothing(t *testing.T) {
	w := begin(t)
	w.clean(`{"entityId":"gone","entityType":"account"}`)
	alice := w.as("alice")
	const path = "/preferences:batchReplace?validateOnly=true"
	wanted := body("b", "gone", "c")
	for _, before := range []func() list{alice.read, func() list { return alice.save("a", "b") }} {
		l := before()
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			w.unchanged(func() {
				r := alice.send(method, path, wanted, "If-Match", l.ETag, keyHeader, "same", "Prefer", "return=minimal").list(http.StatusOK)
				require.Equal(t, []string{"b:1", "c:2"}, r.shown())
				require.Equal(t, []map[string]string{{"entityId": "gone", "entityType": "account", "reason": "ENTITY_DELETED"}}, r.Skipped)
				require.Equal(t, l.ETag, r.ETag)
				require.Equal(t, l.Version, r.Version)
				require.Equal(t, 2, r.Summary.Total)
				require.Equal(t, 2-len(l.Preferences)/2, r.Summary.Created)
				alice.send(method, path, wanted, "If-Match", `"stale"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
				alice.send(method, path, body("a", "a")).fails(http.StatusBadRequest, "DUPLICATE_ENTITY")
				alice.send(method, "/preferences:batchReplace?validateOnly=1", wanted).fails(http.StatusBadRequest, "INVALID_FIELD", "validateOnly")
				same := make([]string, 0, 2)
				for _, p := range l.Preferences {
					same = append(same, p.EntityID)
				}
				require.Equal(t, summary{Total: len(same)}, *alice.send(method, path, body(same...)).list(http.StatusOK).Summary)
			})
		}
	}
	// What was rehearsed is what happens, and the key was not used up.
	l := alice.read()
	r := alice.send(http.MethodPut, path, wanted).list(http.StatusOK)
	done := alice.replace(wanted, "If-Match", r.ETag, keyHeader, "same").list(http.StatusOK)
	require.Equal(t, r.Summary, done.Summary)
	require.Equal(t, r.shown(), done.shown())
	require.Equal(t, l.Version+1, done.Version)
}

func TestCase110_ARehearsedCleanCounts(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x", "a")
	w.as("bob").save("x")
	const path = "/preferences:cleanOrphaned?validateOnly="
	w.unchanged(func() {
		res := w.system().send(http.MethodPost, path+"true", `{"entityId":"x","entityType":"account","reorder":false}`, keyHeader, "k").is(http.StatusOK)
		require.JSONEq(t, `{"deleted":2,"affectedUsers":[],"reordered":false}`, res.text)
		w.system().send(http.MethodPost, path+"true", `{"entityId":"x","entityType":"thing"}`).fails(http.StatusUnprocessableEntity, "UNKNOWN_ENTITY_TYPE")
		w.system().send(http.MethodPost, path+"yes", `{"entityId":"x","entityType":"account"}`).fails(http.StatusBadRequest, "INVALID_FIELD", "validateOnly")
	})
	w.system().send(http.MethodPost, path+"false", `{"entityId":"x","entityType":"account"}`, keyHeader, "k").is(http.StatusOK)
	require.Equal(t, 2, w.count("select count(*) from changes where action = 'clean'"))
}
