package verify_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestMissingAnnouncementsAreFound(t *testing.T) {
	t.Parallel()
	const e1 = "I6 event:e1 of account x: "
	lose := func(rows ...int) func(*world) { // also from the topic, as if it had never been written
		return func(w *world) {
			for _, i := range rows {
				w.outbox, w.seen = without(w.outbox, i), without(w.seen, i)
			}
		}
	}
	part := func(row int, change func(*events.Cleaned)) func(*world) {
		return func(w *world) {
			w.part(row, change)
			w.seen[row].Value = w.outbox[row].Payload
		}
	}
	check(t, map[string]row{
		"a version without an event": {lose(1), []string{"I4 list 1: has version 2 without an event"}},
		"the last version without an event, where the first row is gone too": {
			func(w *world) { lose(4)(w); w.prune(1) }, []string{"I4 list 1: has version 4 without an event"},
		},
		"a clean without parts": {lose(3, 2), []string{e1 + "does not name version 3 of list 1 of u", e1 + "ended and never said so"}},
		"a clean of nothing without parts": {
			func(w *world) {
				w.operations = append(w.operations, verify.CleanOperation{Clean: e2, Created: at(9)})
			},
			[]string{"I6 event:e2 of account x: ended and never said so"},
		},
		"no final part": {lose(3), []string{e1 + "has 0 final parts where 1 belong"}},
		"a part is missing": {lose(2), []string{
			e1 + "does not name version 3 of list 1 of u",
			e1 + "has part 2 where 1 belongs", e1 + "counts 1 items up to part 2 where 0 belong",
		}},
		"two final parts": {part(2, func(p *events.Cleaned) { p.Final = true }), []string{e1 + "has 2 final parts where 1 belong"}},
		"a part after the final one": {
			func(w *world) {
				part(2, func(p *events.Cleaned) { p.Final, p.Complete = true, true })(w)
				part(3, func(p *events.Cleaned) { p.Final = false })(w)
			},
			[]string{e1 + "goes on after its final part"},
		},
		"a final part of a clean that goes on": {
			func(w *world) { w.operations[0].Open = true }, []string{e1 + "has 1 final parts where 0 belong"},
		},
		"a clean that was given up claims to be complete": {
			func(w *world) { w.operations[0].Failed = true }, []string{e1 + "says that complete is true"},
		},
		"a finished clean claims to be incomplete": {
			part(3, func(p *events.Cleaned) { p.Complete = false }), []string{e1 + "says that complete is false"},
		},
		"a part twice":       {part(3, func(p *events.Cleaned) { p.Part = 1 }), []string{e1 + "has part 1 where 2 belongs"}},
		"a wrong total":      {part(3, func(p *events.Cleaned) { p.TotalDeleted = 7 }), []string{e1 + "counts 7 items up to part 2 where 1 belong"}},
		"a user is left out": {part(2, func(p *events.Cleaned) { p.AffectedUsers = nil }), []string{e1 + "names list 1 in part 1 and not its user"}},
		"a list is named twice": {
			part(3, func(p *events.Cleaned) {
				p.TotalDeleted, p.AffectedUsers = 2, []string{"u"}
				p.Lists = []events.TouchedList{{UserID: "u", ListID: 1, Version: 3}}
			}),
			[]string{e1 + "names version 3 of list 1 of u, which it did not make, or named before"},
		},
		"a list that was not cleaned is named": {
			func(w *world) { w.lists[0].Changes[2].Action = "replace" },
			[]string{e1 + "names version 3 of list 1 of u, which it did not make, or named before"},
		},
		"a list that was cleaned and erased is named": {func(w *world) { w.lists = nil }, []string{}},
		"the parts of one entity do not stand for another": {
			func(w *world) {
				w.operations[0].Entity.ID = "y"
				part(2, func(p *events.Cleaned) { p.EntityID = "z" })(w)
				part(3, func(p *events.Cleaned) { p.EntityID = "z" })(w)
			},
			[]string{
				"I6 event:e1 of account z: names version 3 of list 1 of u, which it did not make, or named before",
				"I6 event:e1 of account y: ended and never said so",
			},
		},
	})
}

func TestHalfDoneAndOpenWorkIsFound(t *testing.T) {
	t.Parallel()
	check(t, map[string]row{
		"an effect without its mark": {
			func(w *world) { w.effects[0].Marked, w.effects[0].Applied = false, false },
			[]string{"I7 event:e1: took effect on account x and is not in the inbox"},
		},
		"a mark without its effect": {
			func(w *world) { w.effects[0].Cleans = false },
			[]string{"I7 event:e1: is in the inbox, and account x was never cleaned"},
		},
		"open operations":   {func(w *world) { w.work.Operations = 2 }, []string{"I9 open operations: 2 are left"}},
		"failed operations": {func(w *world) { w.work.Failed = 1 }, []string{"I9 failed operations: 1 are left"}},
		"quarantine":        {func(w *world) { w.work.Quarantined = 3 }, []string{"I9 quarantined events: 3 are left"}},
		"a relay is behind": {func(w *world) { w.work.Unpublished = 4 }, []string{"I9 unpublished events: 4 are left"}},
	})
}

func TestBrokenDeliveryIsFound(t *testing.T) {
	t.Parallel()
	check(t, map[string]row{
		"an event never arrived": {
			func(w *world) { w.seen = without(w.seen, 0) },
			[]string{"I4 outbox row 1: never arrived: preferences.updated of list 1"},
		},
		"an event that nobody wrote": {
			func(w *world) { w.seen = append(w.seen, verify.Delivered{Topic: "updates", Offset: 9, Time: at(9)}) },
			[]string{"I4 event ID at updates/0@9: is in no row: the database does not know what it tells"},
		},
		"another key": {
			func(w *world) { w.seen[4].Key = "v" },
			[]string{"I4 event ID at updates/0@5: is not what the outbox holds", "I4 outbox row 5: never arrived: preferences.updated of list 1"},
		},
		"another value": {
			func(w *world) { w.seen[4].Value = []byte("{}") },
			[]string{"I4 event ID at updates/0@5: is not what the outbox holds", "I4 outbox row 5: never arrived: preferences.updated of list 1"},
		},
		"an event overtook another": {
			func(w *world) { w.seen[0], w.seen[1] = w.seen[1], w.seen[0] },
			[]string{"I5 event ID at updates/0@1: comes after row 2 of list 1, which was committed later"},
		},
		"the parts of a clean are out of order": {
			func(w *world) { w.seen[2], w.seen[3] = w.seen[3], w.seen[2] },
			[]string{"I5 event ID at cleans/0@3: comes after row 4 of preferences.cleaned of x by event:e1, which was committed later"},
		},
		"an event came to another partition the second time": {
			func(w *world) {
				again := w.seen[0]
				again.Partition = 3
				w.seen = append(w.seen, again)
			},
			[]string{"I5 event ID at updates/3@1: was delivered to partition 0 before"},
		},
		"versions were written in the wrong order": {
			func(w *world) {
				w.outbox[0], w.outbox[1] = w.outbox[1], w.outbox[0]
				w.outbox[0].ID, w.outbox[1].ID = 1, 2
				w.outbox[0].Time, w.outbox[1].Time = at(0), at(1)
				w.seen[0], w.seen[1] = w.seen[1], w.seen[0]
			},
			[]string{"I5 list 1: has version 1 in the outbox after version 2"},
		},
	})
}

func TestWhatTheSourceCannotKnowIsNoFinding(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world){
		"a record whose event was pruned":         func(w *world) { w.outbox, w.kept = w.outbox[1:], at(1) },
		"a record of whom nobody knows the past":  func(w *world) { w.outbox, w.kept = w.outbox[1:], time.Time{} },
		"a record that is younger than the look":  func(w *world) { w.outbox, w.seen[4].Late, w.lists = w.outbox[:4], true, nil },
		"an event that the relay has not come to": func(w *world) { w.outbox[4].Waiting, w.seen = true, w.seen[:4] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sound()
			change(w)
			require.Empty(t, w.findings(t))
		})
	}
}

// However few events are held at a time, all are looked at, and all that is in
// order with one is looked at together.
func TestDeliveryIsCheckedInSlices(t *testing.T) {
	t.Parallel()
	w := &world{kept: at(0)}
	const users = 50
	for version := int64(1); version <= 3; version++ {
		for u := range users {
			w.emit(events.PreferencesUpdated, "updates", fmt.Sprint("u", u), version, 0, events.Updated{ListID: int64(u + 1), Version: version})
		}
	}
	last := len(w.seen) - 1
	w.seen[last-users], w.seen[last] = w.seen[last], w.seen[last-users] // of the last user
	w.seen = without(w.seen, 7)
	for _, atOnce := range []int{3, 20, verify.AtOnce} {
		report, err := verify.Delivery(t.Context(), w, w, atOnce)
		require.NoError(t, err)
		require.Equal(t, 3*users, report.Events)
		require.Equal(t, 3*users-1, report.Delivered)
		require.Equal(t, map[string]int{"I4": 1, "I5": 1}, report.Broken, atOnce)
	}
}

func TestAReportKeepsTheFirstFindingsAndCountsAll(t *testing.T) {
	t.Parallel()
	w := sound()
	w.seen = nil
	for range 2 * verify.MostFindings {
		w.emit(events.PreferencesUpdated, "updates", "v", 1, 0, events.Updated{ListID: 2, Version: 1})
	}
	w.seen = nil
	report, err := verify.Delivery(t.Context(), w, w, verify.AtOnce)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"I4": 2*verify.MostFindings + 5, "I5": 2*verify.MostFindings - 1}, report.Broken)
	require.Len(t, report.Findings, 2*verify.MostFindings)

	var both verify.Report
	both.Add(report)
	both.Add(verify.Report{Lists: 3, Broken: map[string]int{"I1": 1}, Findings: []verify.Finding{{Invariant: "I1"}}})
	require.Equal(t, 3, both.Lists)
	require.Len(t, both.Findings, 2*verify.MostFindings+1)
	require.Equal(t, map[string]int{"I1": 1, "I4": 2*verify.MostFindings + 5, "I5": 2*verify.MostFindings - 1}, both.Broken)
}

func TestASourceThatFailsIsNoSoundWorld(t *testing.T) {
	t.Parallel()
	quiet := func(ctx context.Context, src verify.Source) (verify.Report, error) { return verify.Quiet(ctx, src, 0) }
	for method, fn := range map[string]func(context.Context, verify.Source) (verify.Report, error){
		"kept": verify.Database, "lists": verify.Database, "twins": verify.Database, "tombstones": verify.Database, "parts": verify.Database,
		"operations": verify.Database, "outbox": verify.Contract, "effects": quiet, "open work": quiet,
	} {
		w := sound()
		w.away = method
		_, err := fn(t.Context(), w)
		require.ErrorIs(t, err, errAway, method)
	}
	for _, method := range []string{"kept", "outbox", "topics"} {
		w := sound()
		w.away = method
		_, err := verify.Delivery(t.Context(), w, w, verify.AtOnce)
		require.ErrorIs(t, err, errAway, method)
	}
}
