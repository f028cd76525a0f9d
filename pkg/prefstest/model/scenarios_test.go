package model

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit is how many states a scenario may have.
const limit = 1_500_000

// variant is a rule that is broken, and what has to come of it.
type variant struct {
	rule, violation string
	steps           int // of a shortest way there
}

var traces = flag.Bool("traces", false, "show how each broken variant comes to its violation")

// verify explores a protocol, then each of its broken variants.
func verify[S comparable](t *testing.T, name string, of func(rule string) system[S], broken ...variant) {
	t.Helper()
	for _, v := range append([]variant{{}}, broken...) {
		label := name
		if v.rule != "" {
			label = "broken: " + v.rule
		}
		began := time.Now()
		found := of(v.rule).explore(limit)
		shown := found.violation
		if *traces {
			shown = found.String()
		}
		t.Logf("%-58s %8d states %6.2f s %3d steps  %s", label, found.states, time.Since(began).Seconds(), len(found.trace), shown)
		if v.rule == "" {
			require.Empty(t, found.violation, "%s: %s", label, found)
			continue
		}
		require.Equal(t, v.violation, found.violation, "%s: %s", label, found)
		require.Len(t, found.trace, v.steps, "%s: %s", label, found)
	}
}

// verify explores the scenario as it is, and with one rule broken at a time.
func (sc scenario) verify(t *testing.T, broken ...variant) {
	t.Helper()
	verify(t, sc.name, func(rule string) system[world] {
		one := sc
		one.variant = rule
		return one.system()
	}, broken...)
}

func with(w world, change func(*world)) world {
	change(&w)
	return w
}

func TestWriters(t *testing.T) {
	t.Parallel()
	scenario{
		name: "two writers, one list",
		writes: [2][]request{
			{{act: add, items: itemA}, {act: put, items: itemX | itemB, ifMatch: true}, {act: remove, items: itemB}},
			{{act: put, items: itemX, ifMatch: true}, {act: add, items: itemB}, {act: put, items: itemX | itemA}},
		},
		start: with(holds(itemX), func(w *world) { w.crashes = 2 }),
	}.verify(
		t,
		variant{"guard without version", twoChanges, 8},
		variant{"lock and list in one statement", twice, 14},
	)
	scenario{
		name: "two writers with copies", copies: true,
		writes: [2][]request{
			{{act: add, items: itemA}, {act: remove, items: itemX}, {act: put, items: itemX | itemB}},
			{{act: put, items: itemX | itemB, ifMatch: true}, {act: add, items: itemA}, {act: put}},
		},
		start: with(holds(itemX), func(w *world) { w.crashes = 2 }),
	}.verify(t, variant{"guard without version", twoChanges, 7}, variant{"a copy says that nothing changes", lostUpdate, 11})
	scenario{
		name: "first writes of a list",
		writes: [2][]request{
			{{act: put, items: itemX | itemA, ifMatch: true}, {act: add, items: itemB, ifMatch: true}},
			{{act: put, items: itemB, ifMatch: true}, {act: put, items: itemX | itemA}},
		},
		start: with(world{}, func(w *world) { w.crashes = 2 }),
	}.verify(t, variant{"no ensure", twoChanges, 13})
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	stale := [2][]request{
		{{act: put, items: itemX | itemA}, {act: put, items: itemX | itemA, ifMatch: true}},
		{{act: add, list: 1, items: itemX, strict: true}, {act: add, list: 1, items: itemX}},
	}
	scenario{
		name: "deletion, clients with old lists", writes: stale, log: []fact{gone(10)}, chunk: 1,
		start: with(holds(itemX, itemB), func(w *world) { w.crashes = 1 }),
	}.verify(
		t,
		variant{"no bucket lock", "a deleted entity is in a list", 15},
		variant{"tombstone before the bucket", "a deleted entity is in a list", 16},
		variant{"REPEATABLE READ writer", "a deleted entity is in a list", 15},
		variant{"inbox mark in T1", "a deletion has no operation", 15},
		variant{"offset before the effect", "an event was never applied", 12},
		variant{"event in its own transaction", unannounced, 24},
	)
	scenario{
		name: "deletion and restoration", writes: [2][]request{{{act: put, items: itemX | itemA}}, {{act: remove, list: 1, items: itemX}, {act: add, list: 1, items: itemX}}},
		log: []fact{gone(10), there(20)}, chunk: 1,
		start: with(holds(itemX, itemX), func(w *world) { w.crashes = 1 }),
	}.verify(
		t,
		variant{"a clean ignores the restoration", lateClean, 11},
		variant{"chunk without the bucket", lateClean, 11},
	)
	scenario{
		name: "events out of order", writes: [2][]request{{}, {{act: add, list: 1, items: itemX}}},
		log: []fact{there(20), gone(10), gone(30)}, chunk: 2,
		start: with(holds(itemX, itemB), func(w *world) { w.crashes, w.moves = 1, 1 }),
	}.verify(t)
	scenario{
		name: "an old event comes last", writes: [2][]request{{{act: add, items: itemX}}, {}},
		log:   []fact{gone(10), there(20), gone(15)},
		start: with(holds(itemA, itemX), func(w *world) { w.crashes = 1 }),
	}.verify(t, variant{"state without its time", "the entity's state is not the newest one", 17})
}

func TestLockQueue(t *testing.T) {
	t.Parallel()
	scenario{
		name: "no deadlock in the bucket's queue", queued: true,
		writes: [2][]request{{{act: remove, items: itemX}, {act: add, items: itemX}}, {}},
		log:    []fact{gone(10), there(20), gone(30)}, chunk: 1,
		start: holds(itemX|itemB, itemX),
	}.verify(t, variant{"bucket before the head", "a writer is stuck", 19})
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	scenario{
		name: "dead letter, sent again", writes: [2][]request{{{act: add, items: itemX}}, {}},
		log: []fact{gone(10), there(10)}, calls: []byOperator{{call: resends}},
		start: with(holds(itemA, itemX), func(w *world) { w.crashes, w.letters, w.moves = 1, 1, 1 }),
	}.verify(t, variant{"a dead letter wins a tie", "the entity's state is not the newest one", 15})
	scenario{
		name: "a deletion becomes a dead letter", writes: [2][]request{{{act: add, items: itemX}}, {}},
		log: []fact{gone(10)}, calls: []byOperator{{call: resends}},
		start: with(holds(itemA, itemX), func(w *world) { w.crashes, w.letters, w.moves = 1, 1, 1 }),
	}.verify(t, variant{"a dead letter that is sent again is a duplicate", "a deleted entity is in a list", 9})
}

func TestRunners(t *testing.T) {
	t.Parallel()
	adds := [2][]request{{{act: add, items: itemA}}, {{act: add, list: 1, items: itemX}}}
	scenario{
		name: "one runner takes over from another", writes: adds, log: []fact{gone(10)}, chunk: 1,
		start: with(holds(itemX, itemX), func(w *world) { w.crashes, w.steals = 1, 1 }),
	}.verify(
		t,
		variant{"opsave without the epoch", "2 final parts", 26},
		variant{"final part in its own transaction", "0 final parts", 22},
		variant{"affected users from memory", "the final count leaves out a list", 21},
	)
	scenario{
		name: "a clean is cancelled or given up", writes: adds, log: []fact{gone(10), there(20)}, calls: []byOperator{{call: cancels}}, chunk: 1,
		start: with(holds(itemX, itemX), func(w *world) { w.steals, w.failures = 1, 1 }),
	}.verify(t)
	scenario{
		name: "an operator's clean and a restoration", writes: adds, log: []fact{there(10)}, calls: []byOperator{{call: cleans}}, slowly: true,
		start: with(holds(itemX, itemX), func(w *world) { w.crashes, w.steals = 1, 1 }),
	}.verify(t, variant{"time taken in T1", "the entity's state is not the newest one", 15})
}

func TestUndo(t *testing.T) {
	t.Parallel()
	scenario{
		name: "undo, while the user adds it", log: []fact{gone(10)}, calls: []byOperator{{call: undoes}}, given: true,
		writes: [2][]request{{{act: add, items: itemX}}, {{act: add, list: 1, items: itemX}, {act: remove, list: 1, items: itemX}}},
		start:  with(holds(itemX|itemA, itemX), func(w *world) { w.crashes, w.steals = 1, 1 }),
	}.verify(
		t,
		variant{"undo without looking at the list", twice, 16},
		variant{"undo cursor in its own transaction", putTwice, 26},
		variant{"opfinish forgets the undo", "an undo that was accepted was not carried out", 18},
	)
	scenario{
		name: "undo, while it is deleted again", log: []fact{gone(10), gone(14)}, calls: []byOperator{{call: undoes}}, chunk: 1,
		writes: [2][]request{{}, {{act: add, list: 1, items: itemX}}},
		start:  with(holds(itemX, itemX), func(w *world) { w.crashes = 1 }),
	}.verify(
		t,
		variant{"undo without the tombstones", "a deleted entity is in a list", 26},
		variant{"undo without the bucket", "a deleted entity is in a list", 26},
		variant{"undo lifts any deletion", "the entity's state is not the newest one", 19},
		variant{"undo takes the present time", "the entity's state is not the newest one", 19},
	)
	scenario{
		name: "undo of an operator's clean", calls: []byOperator{{call: cleans}, {call: undoes, job: byHand}},
		writes: [2][]request{{{act: add, items: itemX}}, {}},
		start:  with(holds(itemX, itemX), func(w *world) { w.crashes, w.steals = 1, 1 }),
	}.verify(t, variant{"state without the epoch", "a deletion that was taken back counts again", 14})
	scenario{
		name: "undo of an operator's clean, and it is deleted", log: []fact{gone(10)}, calls: []byOperator{{call: cleans}, {call: undoes, job: byHand}},
		writes: [2][]request{{{act: add, items: itemX}}, {}},
		start:  with(holds(itemX, itemX), func(w *world) { w.steals = 1 }),
	}.verify(
		t,
		variant{"an operation's word replaces the owner's", "an undo took back what the owner had said", 20},
		variant{"what the owner says late is lost", "an undo took back what the owner had said", 20},
		variant{"undo leaves its own time", "an undo took back what the owner had said", 23},
	)
	scenario{
		name: "undo of an operator's clean and of a deletion", log: []fact{gone(10)}, writes: [2][]request{{{act: add, items: itemX}}, {}}, start: holds(itemX, itemX),
		calls: []byOperator{{call: cleans}, {call: undoes}, {call: undoes, job: byHand}},
	}.verify(t, variant{"undo leaves the owner's word", "a deletion that was taken back counts again", 27})
	scenario{
		name: "undo of an operator's clean, and it is deleted and restored", log: []fact{gone(10), there(20)}, calls: []byOperator{{call: cleans}, {call: undoes, job: byHand}},
		writes: [2][]request{{{act: add, items: itemX}}, {}}, start: holds(itemX, itemX),
	}.verify(t)
}

func TestErasure(t *testing.T) {
	t.Parallel()
	scenario{
		name: "a user is erased and comes back", copies: true, log: []fact{userGone(10), userThere(20)},
		writes: [2][]request{{{act: add, items: itemA}, {act: put, items: itemA | itemB, ifMatch: true}}, {{act: add, items: itemB}, {act: put, items: itemB, ifMatch: true}}},
		start:  with(holds(itemA), func(w *world) { w.crashes = 1 }),
	}.verify(t, variant{"tag without the list", blindWrite, 17})
	adds := [2][]request{{{act: add, items: itemA}}, {{act: add, items: itemB}, {act: put, items: itemA, ifMatch: true}}}
	scenario{
		name: "a user is erased before the first write", writes: adds, log: []fact{userGone(10), userThere(20), userGone(30)},
		start: with(world{}, func(w *world) { w.crashes, w.moves = 1, 1 }),
	}.verify(t, variant{"no user bucket", "an erased user has a list", 25})
	scenario{
		name: "a user came back before the erasure", writes: adds, log: []fact{userThere(20), userGone(10)},
		start: with(world{}, func(w *world) { w.crashes, w.moves = 1, 1 }),
	}.verify(t, variant{"erasure without the state", overerased, 13})
}

func TestReconciliation(t *testing.T) {
	t.Parallel()
	adds := [2][]request{{{act: add, items: itemX}}, {}}
	scenario{
		name: "reconciliation, and it is created", writes: adds, log: []fact{there(10)}, calls: []byOperator{{call: reconciles}}, slowly: true,
		start: with(holds(itemA, itemX), func(w *world) { w.missing, w.crashes = true, 1 }),
	}.verify(t, variant{"time taken in T1", "the entity's state is not the newest one", 16})
	scenario{
		name: "reconciliation, and it is deleted", writes: adds, log: []fact{gone(10)}, calls: []byOperator{{call: reconciles}}, slowly: true, chunk: 1,
		start: with(holds(itemA, itemX), func(w *world) {
			w.crashes, w.entity = 1, known{word: word{recorded: true, deleted: true, at: 1}}
		}),
	}.verify(t, variant{"time taken in T1", "the entity's state is not the newest one", 12})
}

func TestTraceIsAShortestOne(t *testing.T) {
	t.Parallel()
	count := system[int]{
		next: func(n int, emit func(who, what string, to int)) {
			for _, by := range []int{1, 3} {
				if n < 20 {
					emit("counter", strings.Repeat("+", by), n+by)
				}
			}
		},
		check: func(n int, _ bool) string {
			if n == 7 {
				return "seven"
			}
			return ""
		},
	}
	found := count.explore(limit)
	require.Equal(t, "seven", found.violation)
	require.Len(t, found.trace, 3)
	count.check = func(n int, end bool) string {
		if end {
			require.GreaterOrEqual(t, n, 20)
		}
		return ""
	}
	require.Equal(t, 23, count.explore(limit).states)
	require.Equal(t, tooMany, count.explore(5).violation)
}
