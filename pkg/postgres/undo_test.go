package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// undo takes an operation back, and returns what became of it.
func (h *house) undo(t *testing.T, o preferences.Operation) preferences.Operation {
	t.Helper()
	asked, err := h.UndoOperation(t.Context(), o.ID, preferences.By{Actor: "boss"})
	require.NoError(t, err)
	require.Equal(t, "boss", asked.Undo.By)
	h.runAll(t)
	return h.operation(t, o)
}

func (h *house) bulk(t *testing.T, reorder bool, ids ...string) preferences.Operation {
	t.Helper()
	o, err := h.BulkClean(t.Context(), operator, accounts(ids...), reorder, false)
	require.NoError(t, err)
	require.Equal(t, preferences.Succeeded, o.State)
	return o
}

// TestAnUndoLeavesWhatTheOwnerHasDeleted: an operator who cleans it once more,
// and takes that back, says nothing about the owner's word.
func TestAnUndoLeavesWhatTheOwnerHasDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x", "y", "a")
	h.remove(t, "e1", "x", time.Now())
	o := h.undo(t, h.bulk(t, true, "x", "y"))
	require.Equal(t, preferences.Compensated, o.State)
	require.Equal(t, []string{"y:1", "a:2"}, h.shown(t, "u"))
	require.Equal(t, []preferences.Entity{account("x")}, h.save(t, "u", "x", "y").Skipped)

	_, err := h.EntityRestored(t.Context(), delivery("e2"), account("x"), time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, h.save(t, "u", "x", "y").Skipped)
	h.undo(t, h.bulk(t, true, "x"))
	require.Empty(t, h.save(t, "u", "y", "x").Skipped, "it was there when the operator deleted it")
}

// TestAnUndoOfAnOperatorGoesBackToTheOwnersWord: what the owner has said about
// the time before the operator did, whenever it arrives.
func TestAnUndoOfAnOperatorGoesBackToTheOwnersWord(t *testing.T) {
	t.Parallel()
	type word struct {
		id    string
		ago   time.Duration
		there bool
	}
	gone := func(id string, ago time.Duration) word { return word{id, ago, false} }
	back := func(id string, ago time.Duration) word { return word{id, ago, true} }
	for name, story := range map[string]struct {
		before, between, after []word // the clean and its undo
		deleted                bool   // at the end
		lost                   bool   // what is there again all the same, from the list that had it
	}{
		"nothing was said":                       {},
		"deleted, late":                          {between: []word{gone("e1", time.Hour)}, deleted: true},
		"deleted, later than the undo":           {after: []word{gone("e1", time.Hour)}, deleted: true},
		"deleted and restored, late":             {between: []word{gone("e1", time.Hour), back("e2", time.Minute)}},
		"restored, late":                         {before: []word{gone("e1", time.Hour)}, between: []word{back("e2", time.Minute)}, lost: true},
		"restored, and deleted before that":      {before: []word{back("e2", time.Minute)}, between: []word{gone("e1", time.Hour)}, after: []word{gone("e0", 2*time.Hour)}},
		"deleted again, late":                    {before: []word{back("e1", time.Hour)}, between: []word{gone("e2", time.Minute)}, deleted: true},
		"deleted, and the same delivered again":  {before: []word{gone("e1", time.Hour), back("e2", time.Minute)}, between: []word{gone("e1", time.Hour)}, after: []word{gone("e1", time.Hour)}, lost: true},
		"restored and deleted at the same time":  {between: []word{back("e1", time.Hour), gone("e2", time.Hour)}, deleted: true},
		"deleted and restored at the same time":  {between: []word{gone("e1", time.Hour), back("e2", time.Hour), gone("e1", time.Hour)}},
		"deleted, and restored after the undo":   {between: []word{gone("e1", time.Hour)}, after: []word{back("e2", time.Minute)}, lost: true},
		"deleted, and the word of an older time": {before: []word{gone("e2", time.Minute)}, between: []word{back("e1", time.Hour)}, deleted: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.save(t, "u", "a", "x")
			now := time.Now()
			say := func(words []word) {
				for _, w := range words {
					var err error
					if w.there {
						_, err = h.EntityRestored(t.Context(), delivery(w.id), account("x"), now.Add(-w.ago))
					} else {
						_, _, err = h.EntityDeleted(t.Context(), delivery(w.id), account("x"), now.Add(-w.ago))
					}
					require.NoError(t, err)
				}
			}
			say(story.before)
			o := h.bulk(t, true, "x")
			say(story.between)
			require.Equal(t, []preferences.Entity{account("x")}, h.save(t, "other", "x").Skipped, "the operator's word stands")
			require.Equal(t, preferences.Compensated, h.undo(t, o).State)
			say(story.after)
			h.runAll(t)
			require.Equal(t, story.deleted, len(h.save(t, "other", "x").Skipped) > 0)
			require.Equal(t, story.deleted || story.lost, len(h.shown(t, "u")) == 1)
		})
	}
}

func TestTwoUndosLeaveNoDeletion(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "x")
	h.remove(t, "e1", "x", time.Now().Add(-time.Hour))
	page, err := h.Operations(t.Context(), preferences.OperationQuery{})
	require.NoError(t, err)
	o := h.bulk(t, true, "x")
	require.Equal(t, preferences.Compensated, h.undo(t, page.Operations[0]).State)
	require.Equal(t, []preferences.Entity{account("x")}, h.save(t, "other", "x").Skipped, "the operator's word stands")
	h.undo(t, o)
	require.Empty(t, h.save(t, "other", "x").Skipped)
	fresh, _ := h.remove(t, "e1", "x", time.Now().Add(-time.Hour))
	require.False(t, fresh)
	require.Empty(t, h.save(t, "other", "x").Skipped)
}

func TestAnUndoneCleanLeavesEveryListAsItWas(t *testing.T) {
	t.Parallel()
	for _, reorder := range []bool{true, false} {
		t.Run(fmt.Sprint("reorder=", reorder), func(t *testing.T) {
			t.Parallel()
			h := open(t)
			before := map[string][]string{}
			for i, ids := range [][]string{{"x", "a", "y", "b", "z"}, {"a", "z", "y", "x"}, {"y"}, {"a", "b"}} {
				user := fmt.Sprint("u", i)
				h.save(t, user, ids...)
				before[user] = h.shown(t, user)
			}
			o := h.undo(t, h.bulk(t, reorder, "y", "x", "z"))
			require.Equal(t, preferences.Compensated, o.State)
			require.Equal(t, preferences.Undo{Progress: preferences.Progress{Done: 3, Total: 3}, Restored: 7, By: "boss"}, *o.Undo)
			for user, list := range before {
				require.Equal(t, list, h.shown(t, user))
			}
			require.Empty(t, h.save(t, "new", "x", "y", "z").Skipped, "the entities count as there again")
			require.Equal(t, 3, h.count(t, "select count(*) from changes where action = 'restore' and operation_id = $1", o.ID))

			_, err := h.UndoOperation(t.Context(), o.ID, operator)
			require.Equal(t, fault.ReasonOperationFinished, fault.ReasonOf(err), "once is enough")
		})
	}
}

func TestAnUndoKeepsAttributesAndWhatOthersDidSince(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, []preferences.Input{
		{EntityID: "a"}, {EntityID: "x", Attributes: []byte(`{"isFavorite":true}`)}, {EntityID: "y"}, {EntityID: "b"}, {EntityID: "c"},
	})
	require.NoError(t, err)
	h.save(t, "back", "x", "a")
	o := h.bulk(t, true, "x", "y")
	h.save(t, "u", "c", "b", "new", "a") // whoever moved something meant it
	_, err = h.EntityRestored(t.Context(), delivery("e1"), account("x"), time.Now().Add(time.Second))
	require.NoError(t, err)
	h.save(t, "back", "a", "x")
	h.remove(t, "e2", "y", time.Now().Add(time.Second))

	now := h.undo(t, o)
	require.Equal(t, []string{"c:1", `x:2{"isFavorite": true}`, "b:3", "new:4", "a:5"}, h.shown(t, "u"), "y was deleted again")
	require.Equal(t, []string{"a:1", "x:2"}, h.shown(t, "back"), "it is there already, where its user wants it")
	require.EqualValues(t, 1, now.Undo.Restored)
	require.Equal(t, []preferences.Entity{account("y")}, h.save(t, "u", "y").Skipped)
}

func TestADeletionThatAnEventCausedCanBeUndone(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "x", "b")
	h.remove(t, "e1", "x", time.Now())
	page, err := h.Operations(t.Context(), preferences.OperationQuery{})
	require.NoError(t, err)
	h.undo(t, page.Operations[0])
	require.Equal(t, []string{"a:1", "x:2", "b:3"}, h.shown(t, "u"))
	fresh, _ := h.remove(t, "e1", "x", time.Now())
	require.False(t, fresh)
	require.Equal(t, []string{"a:1", "x:2", "b:3"}, h.shown(t, "u"), "the same event, delivered again, changes nothing")
}

func TestACancelWithUndoTakesBackWhatWasDone(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "a", "x", "y", "z")
	h.save(t, "u2", "z", "x")
	o := h.deferred(t, "x", "y", "z")
	held, _ := h.claim(t, "runner", time.Minute)
	require.NoError(t, h.Run(t.Context(), held, func() {
		_, err := h.CancelOperation(t.Context(), o.ID, preferences.By{Actor: "boss"}, true)
		require.NoError(t, err)
	}))
	require.Equal(t, preferences.Compensating, h.operation(t, o).State)
	again, err := h.UndoOperation(t.Context(), o.ID, operator)
	require.NoError(t, err, "who asks a second time is told how far it is")
	require.Equal(t, "boss", again.Undo.By)
	_, err = h.CancelOperation(t.Context(), o.ID, operator, false)
	require.Equal(t, fault.ReasonOperationFinished, fault.ReasonOf(err), "an undo is not cancelled")
	h.runAll(t)
	require.Equal(t, preferences.Compensated, h.operation(t, o).State)
	require.Equal(t, []string{"a:1", "x:2", "y:3", "z:4"}, h.shown(t, "u1"))
	require.Equal(t, []string{"z:1", "x:2"}, h.shown(t, "u2"))
}

func TestAnUndoThatIsCutShortIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	h := open(t)
	const users = 5
	for i := range users {
		h.save(t, fmt.Sprint("u", i), "a", "x")
	}
	o := h.bulk(t, true, "x")
	_, err := h.UndoOperation(t.Context(), o.ID, operator)
	require.NoError(t, err)
	first, _ := h.claim(t, "first", 0)
	ctx, stop := context.WithCancel(t.Context())
	lists := 0
	require.Error(t, h.Run(ctx, first, func() {
		if lists++; lists == 2 {
			stop()
		}
	}))
	// Whose list was put right, and who takes the account out again, does not get it a second time.
	l, err := h.List(t.Context(), "u0", "accounts")
	require.NoError(t, err)
	_, err = h.Delete(t.Context(), "u0", l.Of("x").ID, alice, preferences.Terms{})
	require.NoError(t, err)

	second, found := h.claim(t, "second", time.Minute)
	require.True(t, found)
	require.True(t, second.Undoing)
	require.Equal(t, fault.Aborted, fault.CodeOf(h.Run(t.Context(), first, nothing)))
	require.NoError(t, h.Run(t.Context(), second, nothing))
	require.Equal(t, []string{"a:1"}, h.shown(t, "u0"))
	for i := 1; i < users; i++ {
		require.Equal(t, []string{"a:1", "x:2"}, h.shown(t, fmt.Sprint("u", i)))
	}
	require.Equal(t, preferences.Progress{Done: users, Total: users}, h.operation(t, o).Undo.Progress)
}

// late is a store that something happens to before it records a state.
type late struct {
	*postgres.Store
	first func()
}

func (s late) SetState(ctx context.Context, st preferences.State) error {
	s.first()
	return s.Store.SetState(ctx, st)
}

func TestARunnerThatWakesUpAfterAnUndoRecordsNoDeletion(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	o := h.deferred(t, "x")
	asleep, _ := h.claim(t, "asleep", 0)
	prefs := preferences.New(preferences.Options{Store: late{h.store, func() {
		_, err := h.UndoOperation(t.Context(), o.ID, operator)
		require.NoError(t, err)
		h.runAll(t)
		require.Equal(t, preferences.Compensated, h.operation(t, o).State)
	}}})
	require.Equal(t, fault.Aborted, fault.CodeOf(prefs.Run(t.Context(), asleep, nothing)))
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))
	require.Empty(t, h.save(t, "new", "x").Skipped, "nobody has deleted it")
}

func TestAnUndoPassesOverListsThatAreGoneOrFull(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "erased", "x")
	h.save(t, "full", "x")
	h.save(t, "u", "x")
	o := h.bulk(t, true, "x")
	_, err := h.UserDeleted(t.Context(), delivery("e1"), "erased", time.Now())
	require.NoError(t, err)
	ids := make([]string, preferences.MaxItems)
	for i := range ids {
		ids[i] = fmt.Sprintf("n-%04d", i)
	}
	h.save(t, "full", ids...)
	now := h.undo(t, o)
	require.Equal(t, preferences.Compensated, now.State)
	require.EqualValues(t, 1, now.Undo.Restored)
	require.Empty(t, h.shown(t, "erased"))
	require.Len(t, h.shown(t, "full"), preferences.MaxItems)
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))
}

func TestAnUndoThatIsGivenUpCanBeAskedForAgain(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	o := h.bulk(t, true, "x")
	_, err := h.UndoOperation(t.Context(), o.ID, operator)
	require.NoError(t, err)
	held, _ := h.claim(t, "runner", time.Minute)
	ended, err := h.GiveUp(t.Context(), held, errors.New("boom"))
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, preferences.Failed, h.operation(t, o).State)
	require.Equal(t, preferences.Compensated, h.undo(t, o).State)
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))
}
