package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// once is a write that happens once, answered with the version that it made.
func once(key string) preferences.By {
	by := alice
	by.Once = &preferences.Once{Key: key, Render: func(res preferences.Result) (preferences.Answer, error) {
		return preferences.Answer{Status: 200, Header: map[string]string{"Etag": res.List.ETag()}, Body: fmt.Append(nil, res.List.Version)}, nil
	}}
	return by
}

// TestAKeyMakesARepetitionSafeWhereverTheConnectionIsCut: what the caller does
// not know, the key does.
func TestAKeyMakesARepetitionSafeWhereverTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b", "c")
	orders := [][]string{{"b", "a", "c"}, {"a", "b", "c"}}
	w.Cut(pgtest.Cut{Mark: pgtest.Committing, Bytes: pgtest.Everything})
	_, err := h.Replace(t.Context(), "u", "accounts", once("measured"), preferences.Terms{}, inputs(orders[0]...))
	require.NoError(t, err)
	whole := w.Answered()
	require.Positive(t, whole)

	version, unknown := 2, 0
	for i, c := range []pgtest.Cut{
		{Mark: "keyguard\x00", Before: true},
		{Mark: "keyguard\x00"},
		{Mark: "keyguard\x00", Bytes: 40},
		{Mark: pgtest.Committing, Before: true},
		{Mark: pgtest.Committing},
		{Mark: pgtest.Committing, Bytes: 1},
		{Mark: pgtest.Committing, Bytes: whole / 2},
		{Mark: pgtest.Committing, Bytes: whole - 12},
		{Mark: pgtest.Committing, Bytes: whole - 7},
		{Mark: pgtest.Committing, Bytes: whole - 6},
		{Mark: pgtest.Committing, Bytes: whole},
	} {
		by := once(fmt.Sprintf("key-%d", i))
		w.Cut(c)
		version++
		for answered := 0; answered < 2; { // the caller repeats until it knows, and once more
			res, err := h.Replace(t.Context(), "u", "accounts", by, preferences.Terms{}, inputs(orders[(i+1)%2]...))
			if err != nil {
				unknown++
				// The server may not have noticed yet that the first one's connection is gone.
				require.Contains(t, []fault.Reason{fault.ReasonOutcomeUnknown, fault.ReasonRequestInProgress}, fault.ReasonOf(err), "cut %d", i)
				continue
			}
			answered++
			require.Equal(t, fmt.Sprint(version), string(res.Answer.Body), "cut %d", i)
		}
		require.True(t, w.Fired())
		require.Equal(t, version, h.version(t), "cut %d: once, and never twice", i)
	}
	require.GreaterOrEqual(t, unknown, 5)
}

func TestAKeyOfAFirstWriteSurvivesACut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]pgtest.Cut{
		"the lock was never asked for": {Mark: "ensure\x00", Before: true},
		"the lock was taken":           {Mark: "ensure\x00"},
		"the tombstones never came":    {Mark: "tombstones\x00"},
		"the commit never left":        {Mark: pgtest.Committing, Before: true},
		"the commit's answer is lost":  {Mark: pgtest.Committing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, w := openWired(t)
			w.Cut(c)
			for answered := 0; answered < 2; {
				res, err := h.Replace(t.Context(), "u", "accounts", once("k"), preferences.Terms{}, inputs("a", "b"))
				if err != nil {
					require.Contains(t, []fault.Reason{fault.ReasonOutcomeUnknown, fault.ReasonRequestInProgress}, fault.ReasonOf(err))
					continue
				}
				answered++
				require.Equal(t, "1", string(res.Answer.Body))
			}
			require.True(t, w.Fired())
			require.Equal(t, 1, h.version(t))
		})
	}
}

// TestAWriteWithAKeyCostsNoMoreRoundTripsThanItMust: it commits even if nothing
// changes, and nothing else is dearer.
func TestAWriteWithAKeyCostsNoMoreRoundTripsThanItMust(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "b", "c")
	write := func(key string, ids ...string) int64 {
		return h.trips.during(func() {
			_, err := h.Replace(t.Context(), "u", "accounts", once(key), preferences.Terms{}, inputs(ids...))
			require.NoError(t, err)
		})
	}
	require.EqualValues(t, 2, write("move", "b", "a", "c"))
	require.EqualValues(t, 2, write("nothing", "b", "a", "c"))
	require.EqualValues(t, 2, write("move", "b", "a", "c"), "a repetition: the rollback")
}

func TestAnErasedUserLeavesNoAnswers(t *testing.T) {
	t.Parallel()
	h := open(t)
	by := once("k")
	by.Actor = "u"
	_, err := h.Replace(t.Context(), "u", "accounts", by, preferences.Terms{}, inputs("a"))
	require.NoError(t, err)
	require.Equal(t, 1, h.count(t, "select count(*) from idempotency_keys"))
	_, err = h.UserDeleted(t.Context(), delivery("e"), "u", time.Now())
	require.NoError(t, err)
	require.Zero(t, h.count(t, "select count(*) from idempotency_keys"))
}

// TestARestorationHappensOnceWhereverTheConnectionIsCut: also where it only reads
// what the list was.
func TestARestorationHappensOnceWhereverTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b", "c")
	h.save(t, "u", "c", "x")
	want := map[int64][]string{1: {"a:1", "b:2", "c:3"}, 2: {"c:1", "x:2"}}
	version, unknown := 2, 0
	for i, c := range []pgtest.Cut{
		{Mark: "list\x00", Before: true},
		{Mark: "list\x00", Bytes: 40},
		{Mark: "history\x00", Before: true},
		{Mark: "history\x00"},
		{Mark: "history\x00", Bytes: 200},
		{Mark: "keyguard\x00", Before: true},
		{Mark: "keyguard\x00"},
		{Mark: pgtest.Committing, Before: true},
		{Mark: pgtest.Committing},
		{Mark: pgtest.Committing, Bytes: 1},
	} {
		back := int64(i%2 + 1) // what the list is not at the moment
		by := once(fmt.Sprintf("key-%d", i))
		w.Cut(c)
		version++
		for answered := 0; answered < 2; { // the caller repeats until it knows, and once more
			res, err := h.Restore(t.Context(), "u", "accounts", back, by, preferences.Terms{})
			if err != nil {
				unknown++
				require.Contains(t, []fault.Reason{fault.ReasonOutcomeUnknown, fault.ReasonRequestInProgress}, fault.ReasonOf(err), "cut %d", i)
				continue
			}
			answered++
			require.Equal(t, fmt.Sprint(version), string(res.Answer.Body), "cut %d", i)
		}
		require.True(t, w.Fired(), "cut %d", i)
		require.Equal(t, version, h.version(t), "cut %d: once, and never twice", i)
		require.Equal(t, want[back], h.shown(t, "u"))
	}
	require.GreaterOrEqual(t, unknown, 3)
	require.Equal(t, version-2, h.count(t, "select count(*) from changes where action = 'restore'"))
}
