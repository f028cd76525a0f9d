package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/precondition"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestAListIsSavedAndReadAsItWasAnswered(t *testing.T) {
	t.Parallel()
	h := open(t)
	in := inputs("a", "b", "c")
	in[1].Attributes = json.RawMessage(`{"long":1.50,"b":{"x":[1e2,-0.0,"<é \u0007\n\u2028\\\""]},"a":null}`)

	res, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
	require.NoError(t, err)
	require.Equal(t, preferences.Summary{Created: 3, Total: 3}, res.Summary)

	read, err := h.List(t.Context(), "u", "accounts")
	require.NoError(t, err)
	require.Equal(t, res.List, read, "what a write answers is what the next read answers, byte by byte")
	head, err := h.Head(t.Context(), "u", "accounts")
	require.NoError(t, err)
	require.Equal(t, read.ETag(), head.ETag())
	for _, it := range read.Items {
		one, domain, err := h.Item(t.Context(), "u", it.ID)
		require.NoError(t, err)
		require.Equal(t, it, one)
		require.Equal(t, "accounts", domain)
	}
}

func TestAWriteThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.save(t, "u", "a", "b")

	again := h.save(t, "u", "a", "b")
	require.Equal(t, preferences.Summary{Total: 2}, again.Summary)
	require.Equal(t, first.List.ETag(), again.List.ETag())
	require.Equal(t, 1, h.count(t, "select count(*) from changes"))
	require.Equal(t, 1, h.count(t, "select count(*) from outbox"))

	empty := h.save(t, "nobody")
	require.Equal(t, preferences.Summary{}, empty.Summary)
	require.Equal(t, 1, h.count(t, "select count(*) from preference_lists"))
}

func TestRoundTripsOfTheHotOperations(t *testing.T) {
	t.Parallel()
	h := open(t)
	ids := []string{"a", "b", "c", "d"}
	h.save(t, "u", ids...)
	l, err := h.List(t.Context(), "u", "accounts")
	require.NoError(t, err)
	order := 1
	for name, tc := range map[string]struct {
		trips int64
		do    func() error
	}{
		"304":               {1, func() error { _, err := h.Head(t.Context(), "u", "accounts"); return err }},
		"list":              {1, func() error { _, err := h.List(t.Context(), "u", "accounts"); return err }},
		"replace unchanged": {1, func() error { h.save(t, "u", ids...); return nil }},
		"replace one move":  {2, func() error { h.save(t, "u", "b", "a", "c", "d"); return nil }},
		"patch": {2, func() error {
			_, err := h.Patch(t.Context(), "u", l.Items[2].ID, alice, preferences.Terms{}, preferences.Patch{Attributes: json.RawMessage(`{"x":1}`)})
			return err
		}},
		"move": {2, func() error {
			_, err := h.Patch(t.Context(), "u", l.Items[3].ID, alice, preferences.Terms{}, preferences.Patch{Order: &order})
			return err
		}},
		"first write": {4, func() error { h.save(t, "new", ids...); return nil }},
	} {
		if name == "replace one move" || name == "move" || name == "patch" || name == "replace unchanged" {
			h.save(t, "u", ids...) // each starts from the same list, whatever the order of the map
		}
		// A connection that is not idle is pinged at other times: only the operation counts.
		require.Equal(t, tc.trips, h.trips.during(func() { require.NoError(t, tc.do()) }), name)
	}
}

// TestRoundTripsOfADeletion: what is only written waits for the next question, or
// for the commit.
func TestRoundTripsOfADeletion(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "listed")
	for entity, trips := range map[string]int64{"listed": 8, "unlisted": 6} {
		require.Equal(t, trips, h.trips.during(func() {
			_, open, err := h.EntityDeleted(t.Context(), delivery("e-"+entity), account(entity), time.Now())
			require.NoError(t, err)
			require.False(t, open)
		}), entity)
	}
}

func TestEveryKindOfWriteKeepsTheListDense(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "b", "c", "d")
	l, err := h.List(t.Context(), "u", "accounts")
	require.NoError(t, err)
	id := func(entity string) uuid.UUID {
		return l.Items[slices.IndexFunc(l.Items, func(it preferences.Item) bool { return it.EntityID == entity })].ID
	}

	_, err = h.Delete(t.Context(), "u", id("b"), alice, preferences.Terms{})
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "c:2", "d:3"}, h.shown(t, "u"))

	two := 2
	res, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "e", Order: &two})
	require.NoError(t, err)
	require.Equal(t, 2, res.List.Of("e").Order)
	require.Equal(t, []string{"a:1", "e:2", "c:3", "d:4"}, h.shown(t, "u"))

	one := 1
	res, err = h.Patch(t.Context(), "u", id("d"), alice, preferences.Terms{}, preferences.Patch{Order: &one, Attributes: json.RawMessage(`{"f":true}`)})
	require.NoError(t, err)
	require.Equal(t, 1, res.List.Item(id("d")).Order)
	require.Equal(t, []string{`d:1{"f": true}`, "a:2", "e:3", "c:4"}, h.shown(t, "u"))

	h.save(t, "u", "c", "d", "x")
	require.Equal(t, []string{"c:1", `d:2{"f": true}`, "x:3"}, h.shown(t, "u"))

	_, err = h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "c"})
	require.Equal(t, fault.Exists, fault.CodeOf(err))
	five := 5
	_, err = h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "y", Order: &five})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	_, err = h.Delete(t.Context(), "u", id("b"), alice, preferences.Terms{})
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
	_, err = h.Delete(t.Context(), "other", id("d"), alice, preferences.Terms{})
	require.Equal(t, fault.NotFound, fault.CodeOf(err), "somebody else's item is as unknown as none")
}

func TestAConditionIsJudgedOnTheVersionThatIsReplaced(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.save(t, "u", "a", "b")
	tag := first.List.ETag()

	const writers = 50
	var wg sync.WaitGroup
	codes := make([]fault.Code, writers)
	for i := range writers {
		wg.Go(func() {
			_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{Conditions: precondition.Require(tag)}, inputs("b", "a", fmt.Sprint("w", i)))
			if err != nil {
				codes[i] = fault.CodeOf(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(codes)
	require.Equal(t, fault.Code(""), codes[0])
	require.Equal(t, slices.Repeat([]fault.Code{fault.Precondition}, writers-1), codes[1:], "one wins, the others learn of it")
	require.Equal(t, 2, h.count(t, "select count(*) from changes"))
}

// TestAStaleWriteIsStoppedAtTheHead: the history's key would stop it as well, but
// only once its rows are written.
func TestAStaleWriteIsStoppedAtTheHead(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "b")
	by := alice
	by.Action = preferences.ActionReplace
	tries := 0
	_, err := h.store.Write(t.Context(), preferences.Key{UserID: "u", Domain: "accounts"}, by, func(stored preferences.List) ([]preferences.Wanted, error) {
		if tries++; tries == 1 {
			h.save(t, "u", "b", "a", "c") // somebody is faster
		}
		return stored.Wanted()[:1], nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"guardhead: 22012"}, h.trips.refused)
	require.Equal(t, []string{"b:1"}, h.shown(t, "u"))
}

func TestWritersWithoutAConditionAllSucceed(t *testing.T) {
	t.Parallel()
	h := open(t)
	const writers = 50
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers { // the first of them meet a list that does not exist yet
		wg.Go(func() {
			_, errs[i] = h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("a", "b", fmt.Sprint("w", i)))
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	l, err := h.List(t.Context(), "u", "accounts")
	require.NoError(t, err)
	require.EqualValues(t, writers, l.Version)
	require.Len(t, l.Items, 3)
	require.Equal(t, 3, l.Items[2].Order)
	require.Equal(t, writers, h.count(t, "select count(*) from changes"))
	require.Equal(t, writers, h.count(t, "select count(*) from outbox"))
}

func TestConcurrentPatchesOfDifferentItemsAllSurvive(t *testing.T) {
	t.Parallel()
	h := open(t)
	const n = 30
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("e%02d", i)
	}
	l := h.save(t, "u", ids...).List
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			_, errs[i] = h.Patch(t.Context(), "u", l.Items[i].ID, alice, preferences.Terms{}, preferences.Patch{Attributes: json.RawMessage(`{"seen":true}`)})
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	for i, shown := range h.shown(t, "u") {
		require.Equal(t, fmt.Sprintf(`e%02d:%d{"seen": true}`, i, i+1), shown)
	}
}

func TestTheLargestListIsWrittenAndMoved(t *testing.T) {
	t.Parallel()
	h := open(t)
	ids := make([]string, preferences.MaxItems)
	for i := range ids {
		ids[i] = fmt.Sprintf("entity-%04d", i)
	}
	h.save(t, "u", ids...)
	slices.Reverse(ids)
	res := h.save(t, "u", ids...)
	require.Equal(t, preferences.MaxItems, res.Summary.Updated)

	_, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "one-more"})
	require.Equal(t, fault.ReasonTooManyItems, fault.ReasonOf(err))
}
