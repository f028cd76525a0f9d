package verify_test

import (
	"context"
	"testing"

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
			lose(4, 0), []string{"I4 list 1: has version 4 without an event"},
		},
		"a clean without parts": {lose(3, 2), []string{e1 + "cleaned 1 lists and never said so"}},
		"a clean of nothing without parts": {
			func(w *world) {
				w.operations = append(w.operations, verify.CleanOperation{Cause: "event:e2", Entity: account, Created: at(9)})
			},
			[]string{"I6 event:e2 of account x: ended and never said so"},
		},
		"no final part": {lose(3), []string{e1 + "has 0 final parts where 1 belong"}},
		"a part is missing": {lose(2), []string{
			e1 + "has part 2 where 1 belongs", e1 + "counts 1 items up to part 2 where 0 belong",
			e1 + "does not name version 3 of list 1 of u",
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
			func(w *world) { w.cleans = nil },
			[]string{e1 + "names version 3 of list 1 of u, which it did not make, or named before"},
		},
		"a list that was cleaned and erased is named": {
			func(w *world) {
				w.lists, w.cleans = nil, nil
				w.emit(events.PreferencesErased, "updates", "u", 0, 9, events.Erased{UserID: "u", Lists: []events.ErasedList{{Domain: "accounts", ListID: 1}}})
			},
			[]string{},
		},
		"the parts of one entity do not stand for another": {
			func(w *world) { w.operations[0].Entity.ID, w.cleans[0].Entity.ID = "y", "y" },
			[]string{
				e1 + "names version 3 of list 1 of u, which it did not make, or named before",
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
	})
}

func TestBrokenDeliveryIsFound(t *testing.T) {
	t.Parallel()
	check(t, map[string]row{
		"an event never arrived": {
			func(w *world) { w.seen = without(w.seen, 0) },
			[]string{"I4 outbox: 1 of 5 rows never arrived: 1 (preferences.updated of u)"},
		},
		"an event that nobody wrote": {
			func(w *world) { w.seen = append(w.seen, verify.Delivered{Topic: "updates", Offset: 9}) },
			[]string{"I4 event ID at updates/0@9: is not what the outbox holds"},
		},
		"another key": {
			func(w *world) { w.seen[4].Key = "v" },
			[]string{"I4 event ID at updates/0@5: is not what the outbox holds", "I4 outbox: 1 of 5 rows never arrived: 5 (preferences.updated of u)"},
		},
		"another value": {
			func(w *world) { w.seen[4].Value = []byte("{}") },
			[]string{"I4 event ID at updates/0@5: is not what the outbox holds", "I4 outbox: 1 of 5 rows never arrived: 5 (preferences.updated of u)"},
		},
		"an event overtook another": {
			func(w *world) { w.seen[0], w.seen[1] = w.seen[1], w.seen[0] },
			[]string{"I5 event ID at updates/0@1: comes after event ID of list 1, which was committed later"},
		},
		"the parts of a clean are out of order": {
			func(w *world) { w.seen[2], w.seen[3] = w.seen[3], w.seen[2] },
			[]string{"I5 event ID at cleans/0@3: comes after event ID of preferences.cleaned of x by event:e1, which was committed later"},
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

func TestASourceThatFailsIsNoSoundWorld(t *testing.T) {
	t.Parallel()
	checks := map[string]func(context.Context, verify.Source) (verify.Report, error){
		"lists": verify.Database, "tombstones": verify.Database, "cleans": verify.Database, "operations": verify.Database,
		"outbox": verify.Database, "effects": verify.Quiet, "open work": verify.Quiet,
	}
	for method, fn := range checks {
		w := sound()
		w.away = method
		_, err := fn(t.Context(), w)
		require.ErrorIs(t, err, errAway, method)
	}
	w := sound()
	w.away = "outbox"
	_, err := verify.Delivery(t.Context(), w, w.seen)
	require.ErrorIs(t, err, errAway)

	for _, i := range []int{0, 2} {
		w = sound()
		w.outbox[i].Payload = []byte("{")
		_, err = verify.Database(t.Context(), w)
		require.ErrorContains(t, err, "outbox row")
	}
}
