package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

var operator = preferences.By{Actor: "ops", RequestID: "r-2"}

func accounts(ids ...string) []preferences.Entity {
	out := make([]preferences.Entity, len(ids))
	for i, id := range ids {
		out[i] = account(id)
	}
	return out
}

// runAll does what a runner does until nothing is left to claim.
func (h *house) runAll(t *testing.T) {
	t.Helper()
	for {
		held, found := h.claim(t, "runner", time.Minute)
		if !found {
			return
		}
		require.NoError(t, h.Run(t.Context(), held, nothing))
	}
}

// deferred orders a bulk clean that nobody has begun.
func (h *house) deferred(t *testing.T, ids ...string) preferences.Operation {
	t.Helper()
	o, err := h.BulkClean(t.Context(), operator, accounts(ids...), true, true)
	require.NoError(t, err)
	require.Equal(t, preferences.Pending, o.State)
	return o
}

func (h *house) operation(t *testing.T, o preferences.Operation) preferences.Operation {
	t.Helper()
	now, err := h.Operation(t.Context(), o.ID)
	require.NoError(t, err)
	return now
}

func TestABulkCleanReportsWhatItDidForEachEntity(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "a", "x", "y", "b")
	h.save(t, "u2", "y", "x")
	h.save(t, "u3", "y")

	o, err := h.BulkClean(t.Context(), operator, accounts("x", "y", "nobody", "x"), true, false)
	require.NoError(t, err)
	require.Equal(t, preferences.Succeeded, o.State)
	require.Equal(t, preferences.Progress{Done: 5, Total: 5}, o.Progress)
	require.Equal(t, "ops", o.Actor)
	require.EqualValues(t, 5, o.Cleaned.Deleted)
	require.EqualValues(t, 3, o.Cleaned.AffectedUsers, "each user counts once, however many entities are lost")
	require.Equal(t, []preferences.EntityReport{
		{Entity: account("x"), State: preferences.Succeeded, Deleted: 2, AffectedUsers: 2},
		{Entity: account("y"), State: preferences.Succeeded, Deleted: 3, AffectedUsers: 3},
		{Entity: account("nobody"), State: preferences.Succeeded},
	}, o.Cleaned.Entities)
	require.Equal(t, []string{"a:1", "b:2"}, h.shown(t, "u1"))

	told := h.cleaned(t)
	require.Len(t, told, 3, "one final part for each entity")
	for i, id := range []string{"x", "y", "nobody"} {
		require.Equal(t, id, told[i].EntityID)
		require.True(t, told[i].Final && told[i].Complete)
		require.Equal(t, "operation:"+o.ID.String(), told[i].Cause)
	}
	require.Equal(t, []preferences.Entity{account("x")}, h.save(t, "u1", "x").Skipped)
}

func TestManyEntitiesAreLeftToTheRunner(t *testing.T) {
	t.Parallel()
	h := open(t)
	ids := make([]string, preferences.MaxInline+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("acc-%03d", i)
	}
	h.save(t, "u", append([]string{"stays"}, ids...)...)
	few, err := h.BulkClean(t.Context(), operator, accounts(ids[:preferences.MaxInline]...), true, false)
	require.NoError(t, err)
	require.Equal(t, preferences.Succeeded, few.State, "so many are cleaned at once")
	more, err := h.BulkClean(t.Context(), operator, accounts(ids...), true, false)
	require.NoError(t, err)
	require.Equal(t, preferences.Pending, more.State)
	h.runAll(t)
	require.Equal(t, preferences.Succeeded, h.operation(t, more).State)
	require.Equal(t, []string{"stays:1"}, h.shown(t, "u"))
}

func TestAnOlderDeletionDoesNotHoldBackABulkClean(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, err := h.EntityRestored(t.Context(), delivery("e1"), account("x"), time.Now().Add(time.Minute))
	require.NoError(t, err)
	h.save(t, "u", "x", "y")
	o, err := h.BulkClean(t.Context(), operator, accounts("x", "y"), true, false)
	require.NoError(t, err)
	require.EqualValues(t, 2, o.Cleaned.Deleted)
	require.Zero(t, h.count(t, "select count(*) from deleted_entities where entity_id = 'y' and state_at > now()"), "each has a time of its own")
}

func TestACancelledBulkCleanStopsBetweenTwoEntities(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "a", "x", "y", "z")
	o := h.deferred(t, "x", "y", "z")
	held, _ := h.claim(t, "runner", time.Minute)
	done := 0
	require.NoError(t, h.Run(t.Context(), held, func() {
		if done++; done == 1 {
			stopping, err := h.CancelOperation(t.Context(), o.ID, preferences.By{Actor: "boss"}, false)
			require.NoError(t, err)
			require.True(t, stopping.Stopping)
			require.Equal(t, preferences.Running, stopping.State)
		}
	}))
	now := h.operation(t, o)
	require.Equal(t, preferences.Cancelled, now.State)
	require.False(t, now.End.IsZero())
	require.Equal(t, preferences.Progress{Done: 1, Total: 3}, now.Progress)
	require.Equal(t, []string{"a:1", "y:2", "z:3"}, h.shown(t, "u1"))
	require.Equal(t, preferences.Pending, now.Cleaned.Entities[1].State, "it was never begun")
	require.Empty(t, h.save(t, "u1", "z", "y", "a").Skipped)
	require.Len(t, h.cleaned(t), 1)

	_, err := h.CancelOperation(t.Context(), o.ID, operator, false)
	require.Equal(t, fault.ReasonOperationFinished, fault.ReasonOf(err))
	_, found := h.claim(t, "runner", time.Minute)
	require.False(t, found)
}

func TestAnOperationThatIsCancelledBeforeItsBeginDoesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	o := h.deferred(t, "x", "y")
	_, err := h.CancelOperation(t.Context(), o.ID, operator, false)
	require.NoError(t, err)
	h.runAll(t)
	require.Equal(t, preferences.Cancelled, h.operation(t, o).State)
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))
	require.Empty(t, h.cleaned(t), "there is nothing to tell")
	require.Empty(t, h.save(t, "u", "x", "y").Skipped)
}

func TestACancelledSweepSaysThatItIsNotComplete(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists = 2500
	h.seed(t, lists)
	h.remove(t, "e1", "x", time.Now())
	held, _ := h.claim(t, "runner", time.Minute)
	require.NoError(t, h.Run(t.Context(), held, func() {
		_, _ = h.CancelOperation(t.Context(), held.ID, operator, false) // the second time it is being stopped already
	}))
	told := h.cleaned(t)
	last := told[len(told)-1]
	require.True(t, last.Final)
	require.False(t, last.Complete)
	left := h.count(t, "select count(*) from preferences where entity_id = 'x'")
	require.Positive(t, left)
	require.EqualValues(t, lists-left, last.TotalDeleted)
}

func TestAnEntityThatCannotBeCleanedDoesNotHoldBackTheOthers(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x", "y")
	o := h.deferred(t, "x", "y")
	held, _ := h.claim(t, "runner", time.Minute)
	ended, err := h.GiveUp(t.Context(), held, errors.New("boom"))
	require.NoError(t, err)
	require.False(t, ended)
	held.Attempts = 0
	require.NoError(t, h.store.RetryLater(t.Context(), held, 0, errors.New("boom")))
	h.runAll(t)

	now := h.operation(t, o)
	require.Equal(t, preferences.Succeeded, now.State)
	require.Nil(t, now.Failure)
	require.Equal(t, preferences.EntityReport{
		Entity: account("x"), State: preferences.Failed, Failure: &preferences.Failure{Reason: fault.ReasonInternal, Text: "boom"},
	}, now.Cleaned.Entities[0])
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))

	lost := h.deferred(t, "x")
	held, _ = h.claim(t, "runner", time.Minute)
	ended, err = h.GiveUp(t.Context(), held, errors.New("boom"))
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, preferences.Failed, h.operation(t, lost).State, "none of its entities was cleaned")
}

func TestAFencedRunnerSavesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x", "y")
	h.deferred(t, "x", "y")
	first, _ := h.claim(t, "first", 0)
	second, found := h.claim(t, "second", time.Minute)
	require.True(t, found, "its lease is over")
	require.NoError(t, h.store.Renew(t.Context(), second))
	for name, err := range map[string]error{
		"run": h.Run(t.Context(), first, nothing), "give up": h.giveUp(t, first), "renew": h.store.Renew(t.Context(), first),
	} {
		require.Equal(t, fault.Aborted, fault.CodeOf(err), name)
	}
	require.Equal(t, []string{"x:1", "y:2"}, h.shown(t, "u"))
	require.NoError(t, h.Run(t.Context(), second, nothing))
	require.Empty(t, h.shown(t, "u"))
}

func TestARunnerThatIsOvertakenBetweenTwoChunksSavesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists, first = 1100, 1000
	h.seed(t, lists)
	h.remove(t, "e1", "x", time.Now())
	slow, _ := h.claim(t, "slow", 0)
	var next preferences.Held
	err := h.Run(t.Context(), slow, func() {
		if next.Epoch == 0 {
			next, _ = h.claim(t, "next", time.Minute)
		}
	})
	require.Equal(t, fault.Aborted, fault.CodeOf(err))
	require.Equal(t, lists-first, h.count(t, "select count(*) from preferences where entity_id = 'x'"))
	require.NoError(t, h.Run(t.Context(), next, nothing))
	require.Zero(t, h.count(t, "select count(*) from preferences where entity_id = 'x'"))
	total := 0
	for _, part := range h.cleaned(t) {
		total += len(part.Lists)
	}
	require.Equal(t, lists, total, "every list is announced once, by whoever cleaned it")
}

func TestASweepLeavesAloneWhatCameBackMeanwhile(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists, first = 1100, 1000
	h.seed(t, lists)
	h.remove(t, "e1", "x", time.Now())
	held, _ := h.claim(t, "runner", time.Minute)
	var restored bool
	require.NoError(t, h.Run(t.Context(), held, func() {
		if !restored {
			_, err := h.EntityRestored(t.Context(), delivery("e2"), account("x"), time.Now())
			require.NoError(t, err)
			restored = true
		}
	}))
	require.Equal(t, lists-first, h.count(t, "select count(*) from preferences where entity_id = 'x'"))
	told := h.cleaned(t)
	require.True(t, told[len(told)-1].Final)
	require.EqualValues(t, first, told[len(told)-1].TotalDeleted)
}

func TestARequestThatWouldWaitTooLongHandsOver(t *testing.T) {
	t.Parallel()
	h := open(t)
	hasty := preferences.New(preferences.Options{Store: h.store, Announcer: h.announcer, Patience: 50 * time.Millisecond})
	h.save(t, "u", "x", "y")
	free := h.hold(t, "u")
	by := operator
	by.Once = &preferences.Once{Key: "k"}
	done, err := hasty.CleanOrphaned(t.Context(), by, account("x"), true)
	require.NoError(t, err)
	require.Equal(t, preferences.Pending, done.Ongoing.State)
	again, err := hasty.CleanOrphaned(t.Context(), by, account("x"), true)
	require.NoError(t, err)
	require.Equal(t, done.Ongoing.ID, again.Ongoing.ID, "the key stands for the operation")
	free()
	h.runAll(t)
	again, err = hasty.CleanOrphaned(t.Context(), by, account("x"), true)
	require.NoError(t, err)
	require.Equal(t, preferences.Cleaned{Deleted: 1, AffectedUsers: []string{"u"}}, again)
}

func TestOperationsArePagedNewestFirst(t *testing.T) {
	t.Parallel()
	h := open(t)
	var want []preferences.Operation
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		want = append([]preferences.Operation{h.deferred(t, id)}, want...)
	}
	h.remove(t, "e1", "f", time.Now())
	q := preferences.OperationQuery{Kind: preferences.KindBulkClean, Size: 2}
	for at := 0; ; {
		page, err := h.Operations(t.Context(), q)
		require.NoError(t, err)
		for _, o := range page.Operations {
			require.Equal(t, want[at].ID, o.ID)
			at++
		}
		if q.Token = page.NextToken; q.Token == "" {
			require.Len(t, want, at)
			break
		}
	}
	page, err := h.Operations(t.Context(), preferences.OperationQuery{State: preferences.Succeeded})
	require.NoError(t, err)
	require.Len(t, page.Operations, 1)
	require.Equal(t, preferences.KindClean, page.Operations[0].Kind)
	_, err = h.Operations(t.Context(), preferences.OperationQuery{Token: "x"})
	require.Equal(t, fault.ReasonInvalidPageToken, fault.ReasonOf(err))
	_, err = h.Operation(context.Background(), preferences.NewID())
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
}
