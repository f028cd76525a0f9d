package lin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// then is a request that is answered before the next one is sent.
func then(r Request, a Answer) Operation { return Operation{Request: r, Answer: a} }

// story is operations one after the other, with no two clients.
func story(of ...Operation) []Operation {
	for i := range of {
		of[i].Call, of[i].Return = int64(10*i+1), int64(10*i+9)
	}
	return of
}

// meeting is operations that are all under way at once.
func meeting(of ...Operation) []Operation {
	for i := range of {
		of[i].Client, of[i].Call, of[i].Return = i, int64(i), int64(len(of)+i)
	}
	return of
}

// later puts operations behind others.
func later(first, second []Operation) []Operation {
	const gap = 1000
	for i := range second {
		second[i].Call, second[i].Return = second[i].Call+gap, second[i].Return+gap
	}
	return append(first, second...)
}

// items are entities, each with the id that is its name twice.
func items(entities string) (out []Item) {
	for i, e := range strings.Fields(entities) {
		out = append(out, Item{ID: e + e, Entity: e, Order: i + 1})
	}
	return out
}

func ofVersion(v int64) *int64 { return &v }

func save(v int64, entities string) Operation {
	return then(Request{Kind: Replace, Items: items(entities)}, Answer{Status: 200, Version: v, Items: items(entities)})
}

// saveIf is a save that holds on to a version.
func saveIf(seen, v int64, entities string) Operation {
	o := save(v, entities)
	o.Request.If = ofVersion(seen)
	return o
}

func saveLost(entities string) Operation {
	return then(Request{Kind: Replace, Items: items(entities)}, Answer{Unknown: true})
}

func read(v int64, entities string) Operation {
	return then(Request{Kind: Get}, Answer{Status: 200, Version: v, Items: items(entities)})
}

func said(entity string, nth int) Operation {
	return then(Request{Kind: Stated, Entity: entity, Nth: nth}, Answer{})
}

func sweptTo(entity string, nth int, v int64) Operation {
	return then(Request{Kind: Swept, Entity: entity, Nth: nth, Version: v}, Answer{})
}

func spared(entity string, nth int) Operation {
	return then(Request{Kind: Spared, Entity: entity, Nth: nth}, Answer{})
}

func without(o Operation, entity string) Operation {
	o.Answer.Skipped = []string{entity}
	o.Answer.Items = slices.DeleteFunc(o.Answer.Items, func(it Item) bool { return it.Entity == entity })
	for i := range o.Answer.Items {
		o.Answer.Items[i].Order = i + 1
	}
	return o
}

func patch(item string, mark int, seen *int64, a Answer) Operation {
	return then(Request{Kind: Patch, Item: item, Mark: mark, If: seen}, a)
}

func refusal(status int, code string) Answer { return Answer{Status: status, Code: code} }

func TestAHistoryHoldsOrIsRefused(t *testing.T) {
	t.Parallel()
	stale := refusal(412, codePrecondition)
	two := map[int64]Event{
		1: {Action: "replace", Created: []string{"a", "b"}, Total: 2},
		2: {Action: "replace", Updated: []string{"a", "b"}, Total: 2, Tag: "t2"},
	}
	tagged := read(2, "b a")
	tagged.Answer.Tag = "another"
	for name, c := range map[string]struct {
		holds  bool
		of     []Operation
		events map[int64]Event
	}{
		"saves and reads":                        {holds: true, of: story(save(1, "a b"), read(1, "a b"), save(2, "b"), save(2, "b"), read(2, "b"))},
		"an acknowledged save is gone":           {of: story(save(1, "a"), save(2, "a b"), read(1, "a"))},
		"a version is jumped over":               {of: story(save(1, "a"), save(3, "b"))},
		"a reader sees what was":                 {of: later(story(save(1, "a")), later(meeting(save(2, "b"), read(2, "b")), story(read(1, "a"))))},
		"a reader sees what will be":             {holds: true, of: later(story(save(1, "a")), meeting(save(2, "b"), read(1, "a"), read(2, "b")))},
		"of two with one tag one wins":           {holds: true, of: later(story(save(1, "a")), meeting(saveIf(1, 2, "b"), then(Request{Kind: Replace, If: ofVersion(1)}, stale)))},
		"of two with one tag both win":           {of: later(story(save(1, "a")), meeting(saveIf(1, 2, "b"), saveIf(1, 3, "c")))},
		"a tag that is current is refused":       {of: story(save(1, "a"), then(Request{Kind: Replace, If: ofVersion(1)}, stale))},
		"an unknown save was done":               {holds: true, of: later(meeting(saveLost("a")), story(read(1, "a")))},
		"an unknown save was never done":         {holds: true, of: later(meeting(saveLost("a")), story(read(0, ""), save(1, "b"), read(1, "b")))},
		"an unknown save was done twice":         {of: later(meeting(saveLost("a")), story(save(2, "b"), save(4, "c")))},
		"an unknown save is told":                {holds: true, of: later(meeting(saveLost("a b")), story(save(2, "b a"))), events: two},
		"an unknown save is told as another":     {of: later(meeting(saveLost("a")), story(save(2, "b a"))), events: two},
		"a version is told as what it is":        {holds: true, of: story(save(1, "a b"), save(2, "b a")), events: two},
		"a version is not told":                  {of: story(save(1, "a b"), save(2, "b a"), save(3, "a")), events: two},
		"a version is told as another":           {of: story(save(1, "a b"), save(2, "b")), events: two},
		"a version is told with another tag":     {of: story(save(1, "a b"), tagged), events: two},
		"an id changes":                          {of: story(save(1, "a"), then(Request{Kind: Get}, Answer{Status: 200, Version: 1, Items: []Item{{ID: "x", Entity: "a", Order: 1}}}))},
		"an order is not dense":                  {of: story(save(1, "a"), then(Request{Kind: Get}, Answer{Status: 200, Version: 1, Items: []Item{{ID: "aa", Entity: "a", Order: 2}}}))},
		"an attribute is lost":                   {of: story(save(1, "a"), patch("aa", 7, nil, Answer{Status: 200, Items: []Item{{ID: "aa", Entity: "a", Order: 1, Mark: 7}}}), read(2, "a"))},
		"an item's tag outlives other changes":   {of: story(save(1, "a b"), save(2, "a b c"), patch("aa", 7, ofVersion(1), stale))},
		"an item's tag ends with its order":      {holds: true, of: story(save(1, "a b"), save(2, "b a"), patch("aa", 7, ofVersion(1), stale))},
		"an item that is gone is found":          {of: story(save(1, "a"), save(2, "b"), then(Request{Kind: Delete, Item: "aa"}, Answer{Status: 204}))},
		"a deleted entity stays away":            {holds: true, of: story(save(1, "a"), said("b", 1), spared("b", 1), without(save(1, "a b"), "b"), read(1, "a"))},
		"a deleted entity comes back":            {of: story(save(1, "a"), said("b", 1), spared("b", 1), save(2, "a b"))},
		"a deleted entity is swept":              {holds: true, of: story(save(1, "a b"), said("b", 1), save(2, "b a"), sweptTo("b", 1, 3), read(3, "a"))},
		"a deletion ends, and its entity stays":  {of: story(save(1, "a b"), said("b", 1), spared("b", 1))},
		"a deletion is overtaken":                {holds: true, of: story(save(1, "a b"), said("b", 1), said("b", 2), spared("b", 1), read(1, "a b"))},
		"a deletion that is overtaken sweeps":    {of: story(save(1, "a b"), said("b", 1), said("b", 2), sweptTo("b", 1, 2))},
		"a restored entity is left out":          {of: story(said("b", 1), said("b", 2), without(save(1, "a b"), "b"))},
		"a save meets a deletion, and is before": {holds: true, of: later(meeting(save(1, "a b"), said("b", 1), sweptTo("b", 1, 2)), story(read(2, "a")))},
		"a sweep takes hold before its deletion": {of: later(meeting(save(1, "a b"), sweptTo("b", 1, 2)), story(said("b", 1)))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := History{Name: "story", Operations: c.of, Events: c.events}.Check()
			if c.holds {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrRefused)
			}
		})
	}
}

// TestKeptHistoriesAreCheckedAgain is what make replay runs on the histories of
// a run; without one, on an example.
func TestKeptHistoriesAreCheckedAgain(t *testing.T) {
	t.Parallel()
	dir := *replay
	if dir == "" {
		dir = t.TempDir()
		lost := later(story(save(1, "a")), meeting(saveIf(1, 2, "b"), saveIf(1, 3, "c")))
		require.NoError(t, History{Name: "example", Seed: 1, Operations: lost}.Keep(dir))
	}
	all, err := Kept(dir)
	require.NoError(t, err)
	require.NotEmpty(t, all, "%s holds no history", dir)
	for _, h := range all {
		err := h.Check()
		if *replay == "" {
			require.ErrorIs(t, err, ErrRefused)
			continue
		}
		require.NoError(t, h.Draw(dir))
		if err != nil {
			t.Errorf("%v; see %s", err, filepath.Join(dir, h.Name+".html"))
		}
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "*.html"))
	require.NoError(t, err)
	require.Len(t, pictures, len(all))
	text, err := os.ReadFile(pictures[0])
	require.NoError(t, err)
	require.Contains(t, string(text), "version")
}
