package verify_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestASoundWorldHasNoFindings(t *testing.T) {
	t.Parallel()
	w := sound()
	require.Empty(t, w.findings(t))
	report, err := verify.Database(t.Context(), w)
	require.NoError(t, err)
	require.Equal(t, verify.Report{Lists: 1, Items: 3, Changes: 4, Events: 5, Cleans: 1}, report)
}

// without returns s without its element i.
func without[T any](s []T, i int) []T { return append(append([]T{}, s[:i]...), s[i+1:]...) }

func TestWhatIsPrunedOrUnderWayIsNoFinding(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world){
		"nothing is pruned but the oldest events": func(w *world) { w.prune(1) },
		"a part of a clean is pruned":             func(w *world) { w.prune(3) },
		"all of a clean is pruned":                func(w *world) { w.prune(4) },
		"everything is pruned":                    func(w *world) { w.prune(5) },
		"the history is pruned":                   func(w *world) { w.lists[0].Changes = w.lists[0].Changes[2:] },
		"a clean goes on": func(w *world) {
			w.outbox, w.seen = without(w.outbox, 3), without(w.seen, 3)
			w.operations[0].Open = true
		},
		"a clean was given up": func(w *world) {
			w.part(3, func(p *events.Cleaned) { p.Complete = false })
			w.seen[3].Value = w.outbox[3].Payload
			w.operations[0].Failed = true
		},
		"a clean began without parts": func(w *world) {
			w.operations = append(w.operations, verify.CleanOperation{Clean: e2, Open: true, Created: at(9)})
		},
		"an event waits in quarantine": func(w *world) {
			w.outbox[4].Quarantined, w.seen = true, w.seen[:4]
		},
		"the first event waits in quarantine while others are pruned": func(w *world) {
			w.outbox[0].Quarantined, w.kept = true, time.Time{}
			w.outbox, w.seen = w.outbox[:1], nil
		},
		"a dead letter left a tombstone": func(w *world) {
			w.effects = append(w.effects, verify.Effect{Cause: "event:e2", Deletes: true, Marked: true})
		},
		"an event was delivered again": func(w *world) { w.seen = append(w.seen, w.seen[1]) },
		"a deleted entity is still being cleaned": func(w *world) {
			w.tombstones = []verify.Tombstone{{Entity: account, ListID: 1}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sound()
			change(w)
			require.Empty(t, w.findings(t))
		})
	}
}

// row is one broken promise and what is said about it.
type row struct {
	breaks   func(*world)
	findings []string
}

func check(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := sound()
			r.breaks(w)
			require.Equal(t, r.findings, w.findings(t))
		})
	}
}

func TestBrokenListsAreFound(t *testing.T) {
	t.Parallel()
	items := func(w *world) []preferences.Item { return w.lists[0].List.Items }
	check(t, map[string]row{
		"an order is not dense": {
			func(w *world) {
				items(w)[2].Order = 4
			},
			[]string{"I1 list 1: shows c as 4 where 3 belongs", "I8 list 1: replays to another list: c is 4 against 3"},
		},
		"two items share a position": {
			func(w *world) { items(w)[1].Position = items(w)[0].Position },
			[]string{"I1 list 1: stores a and b at one position"},
		},
		"an entity stands there twice": {
			func(w *world) {
				items(w)[2].EntityID = "a"
				w.lists[0].Changes[3].Delta.Added[0].EntityID = "a"
			},
			[]string{"I1 list 1: holds a twice"},
		},
		"a gap is shown that is not stored": {
			func(w *world) {
				h := &w.lists[0]
				h.List.Gaps, h.Changes[3].Gaps = true, true
				for i := range h.List.Items {
					h.List.Items[i].Position = int32(i + 1)
				}
				h.List.Items[2].Position = 7
			},
			[]string{"I1 list 1: shows c as 3 where 7 is stored"},
		},
		"a cleaned entity is back": {
			func(w *world) { w.tombstones = []verify.Tombstone{{Entity: account, ListID: 1, Cleaned: true}} },
			[]string{"I2 list 1: holds account x, which was deleted and cleaned"},
		},
		"an erased user has a list": {
			func(w *world) {
				w.tombstones = []verify.Tombstone{{Entity: preferences.Entity{Type: preferences.UserType, ID: "u"}, ListID: 1, Cleaned: true}}
			},
			[]string{"I2 list 1: is of user u, who was erased"},
		},
		"items without a version": {
			func(w *world) {
				w.lists = append(w.lists, verify.History{List: preferences.List{ID: 2, Items: []preferences.Item{{Order: 1}}}})
			},
			[]string{"I3 list 2: has content without a version"},
		},
		"a version without history": {
			func(w *world) {
				w.lists = append(w.lists, verify.History{List: preferences.List{ID: 2, Version: 1}})
			},
			[]string{"I3 list 2: has version 1 and no history"},
		},
		"a version is there twice": {
			func(w *world) {
				h := &w.lists[0]
				h.Changes = append(h.Changes[:4:4], verify.Change{Version: 4, Time: at(5)})
			},
			[]string{"I3 list 1: has version 4 in its history where 5 belongs"},
		},
		"the history ends early": {
			func(w *world) { w.lists[0].List.Version = 5 },
			[]string{"I3 list 1: is at version 5, its history ends at 4"},
		},
		"the time stands still": {
			func(w *world) { w.lists[0].Changes[1].Time = at(0) },
			[]string{"I3 list 1: has version 2 that is no later than the one before"},
		},
		"the head has another time": {
			func(w *world) { w.lists[0].List.UpdateTime = at(9) },
			[]string{"I3 list 1: has another time than its version 4"},
		},
		"the head forgets its gaps": {
			func(w *world) { w.lists[0].Changes[3].Gaps = true },
			[]string{"I3 list 1: shows gaps, or does not, against its version 4"},
		},
		"a delta misses what moved": {
			func(w *world) { w.lists[0].Changes[1].Delta.Updated = nil },
			[]string{"I8 list 1: replays to another list: item 0 is b against a"},
		},
		"an item is another entity than its history says": {
			func(w *world) { items(w)[0].EntityID = "other" },
			[]string{"I8 list 1: replays to another list: item 0 is other against b"},
		},
		"attributes differ from their history": {
			func(w *world) {
				w.lists[0].Changes[3].Delta.Updated = []preferences.Update{{
					EntityID: "a", Attributes: &[2]json.RawMessage{json.RawMessage("{}"), json.RawMessage(`{"f":1}`)},
				}}
			},
			[]string{"I8 list 1: replays to another list: attributes of a"},
		},
		"an item has no beginning": {
			func(w *world) { w.lists[0].Changes[3].Delta.Added = nil },
			[]string{"I8 list 1: leads back to 1 items before its first version", "I11 list 1: holds 3 items, its history leaves 2"},
		},
		"two items share a tag": {
			func(w *world) {
				it := items(w)[0]
				w.twins = []uuid.UUID{it.ID}
				w.lists = append(w.lists, verify.History{
					List: preferences.List{ID: 2, UserID: "v", Version: 1, UpdateTime: at(-1), Items: []preferences.Item{it}},
					Changes: []verify.Change{{Version: 1, Time: at(-1), Delta: preferences.Delta{Added: []preferences.Record{{
						ID: it.ID, EntityType: it.EntityType, EntityID: it.EntityID, Order: 1, Attributes: it.Attributes,
					}}}}},
				})
			},
			[]string{"I10 item ID: shares its tag with item ID"},
		},
		"an item stands in one list twice": {
			func(w *world) {
				w.lists = append(w.lists, verify.History{List: preferences.List{ID: 2, Version: 1, Items: slices.Repeat(items(w)[:1], 2)}})
			},
			[]string{
				"I1 list 2: holds b twice", "I1 list 2: shows b as 1 where 2 belongs", "I3 list 2: has version 1 and no history",
				"I10 item ID: shares its tag within list 2",
			},
		},
		"two lists share a tag": {
			func(w *world) { w.lists = append(w.lists, verify.History{List: preferences.List{}}, verify.History{}) },
			[]string{"I10 list 0: shares its tag with another list"},
		},
	})
}
