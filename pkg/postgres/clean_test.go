package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestADeletedAccountLeavesEveryListAndTheGapsClose(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "a", "x", "b")
	h.save(t, "u2", "x")
	h.save(t, "u3", "a", "b")

	fresh, open := h.remove(t, "e1", "x", time.Now())
	require.True(t, fresh)
	require.False(t, open)
	require.Equal(t, []string{"a:1", "b:2"}, h.shown(t, "u1"))
	require.Empty(t, h.shown(t, "u2"))
	require.Equal(t, []string{"a:1", "b:2"}, h.shown(t, "u3"))

	told := h.cleaned(t)
	require.Len(t, told, 1)
	require.Equal(t, []string{"u1", "u2"}, told[0].AffectedUsers)
	require.True(t, told[0].Final)
	require.EqualValues(t, 2, told[0].TotalDeleted)
	require.Equal(t, "event:e1", told[0].Cause)
	for _, l := range told[0].Lists {
		require.EqualValues(t, 2, l.Version)
	}
	require.Equal(t, 1, h.count(t, "select count(*) from operations where state = 'succeeded' and done = 2 and total = 2"))
}

func TestARepeatedDeliveryChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	at := time.Now()
	h.remove(t, "e1", "x", at)
	_, err := h.EntityRestored(t.Context(), delivery("e2"), account("x"), at)
	require.NoError(t, err)
	h.save(t, "u", "x")

	fresh, _ := h.remove(t, "e1", "x", at)
	require.False(t, fresh)
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"))
	require.Len(t, h.cleaned(t), 1)
}

func TestADeletionThatNobodyNoticesIsAnnouncedToo(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.remove(t, "e1", "x", time.Now())
	told := h.cleaned(t)
	require.Len(t, told, 1)
	require.Empty(t, told[0].AffectedUsers)
	require.NotNil(t, told[0].Lists)
	require.True(t, told[0].Final)
}

func TestADeletedAccountCannotComeBackIntoAList(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "x", "b")
	h.remove(t, "e1", "x", time.Now())

	res := h.save(t, "u", "x", "b", "a")
	require.Equal(t, []preferences.Entity{account("x")}, res.Skipped)
	require.Equal(t, []string{"b:1", "a:2"}, h.shown(t, "u"))
	first := h.save(t, "new", "x")
	require.Equal(t, []preferences.Entity{account("x")}, first.Skipped)
	require.Empty(t, first.List.Items)

	_, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "x"})
	require.Equal(t, fault.ReasonEntityDeleted, fault.ReasonOf(err))

	_, err = h.EntityRestored(t.Context(), delivery("e2"), account("x"), time.Now())
	require.NoError(t, err)
	require.Empty(t, h.save(t, "u", "x", "b", "a").Skipped)
}

func TestAnOlderStateLoses(t *testing.T) {
	t.Parallel()
	h := open(t)
	now := time.Now()
	_, err := h.EntityRestored(t.Context(), delivery("e2"), account("x"), now)
	require.NoError(t, err)
	h.save(t, "u", "x")
	fresh, _ := h.remove(t, "e1", "x", now.Add(-time.Second))
	require.True(t, fresh, "the inbox has not seen it")
	require.Equal(t, []string{"x:1"}, h.shown(t, "u"), "but what it says is out of date")
}

func TestAStateFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, _, err := h.EntityDeleted(t.Context(), delivery("e1"), account("x"), time.Now().Add(time.Hour))
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	require.Zero(t, h.count(t, "select count(*) from deleted_entities"))
}

func TestALockedListLeavesTheCleanToTheRunner(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "x")
	h.save(t, "u2", "x", "y")
	tx, err := h.admin.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select 1 from preference_lists where user_id = 'u2' for no key update")
	require.NoError(t, err)

	_, open := h.remove(t, "e1", "x", time.Now())
	require.True(t, open)
	require.Empty(t, h.shown(t, "u1"), "what is free is cleaned at once")
	require.NoError(t, tx.Rollback(t.Context()))

	h.sweepOne(t)
	require.Equal(t, []string{"y:1"}, h.shown(t, "u2"))
	told := h.cleaned(t)
	require.Len(t, told, 2)
	require.False(t, told[0].Final)
	require.Equal(t, 1, told[0].Part)
	require.True(t, told[1].Final)
	require.Equal(t, 2, told[1].Part)
	require.EqualValues(t, 2, told[1].TotalDeleted)
	_, found := h.claim(t, "runner", time.Minute)
	require.False(t, found, "nothing is left to do")
}

// claim takes up a clean as the runner does.
func (h *house) claim(t *testing.T, owner string, lease time.Duration) (preferences.Held, bool) {
	t.Helper()
	held, found, err := h.store.Claim(t.Context(), owner, lease, preferences.KindClean, preferences.KindBulkClean)
	require.NoError(t, err)
	return held, found
}

// giveUp is what the runner does with a clean that fails too often.
func (h *house) giveUp(t *testing.T, held preferences.Held) error {
	t.Helper()
	_, err := h.GiveUp(t.Context(), held, errors.New("boom"))
	return err
}

// sweepOne is what the runner does.
func (h *house) sweepOne(t *testing.T) {
	t.Helper()
	c, found := h.claim(t, "runner", time.Minute)
	require.True(t, found)
	require.NoError(t, h.Run(t.Context(), c, nothing))
}

// seed puts the entity into n lists of 3, behind the store's back.
func (h *house) seed(t *testing.T, n int) {
	t.Helper()
	for _, sql := range []string{
		"insert into preference_lists (user_id, domain, version) select 'user-' || n, 'accounts', 1 from generate_series(1, $1) n",
		`insert into preferences (id, list_id, entity_type, entity_id, position)
		 select gen_random_uuid(), list_id, 'account', e, p from preference_lists, (values ('a', 1), ('x', 2), ('b', 3)) v(e, p) where $1 > 0`,
		`insert into changes (list_id, version, changed_at, action, actor, delta) select list_id, 1, updated_at, 'replace', 'seed',
		 (select jsonb_build_object('added', jsonb_agg(jsonb_build_object('id', id, 'entityType', entity_type, 'entityId', entity_id, 'order', position, 'attributes', attributes) order by position))
		  from preferences p where p.list_id = l.list_id) from preference_lists l where $1 > 0`,
	} {
		_, err := h.admin.Exec(t.Context(), sql, n)
		require.NoError(t, err)
	}
}

func TestALargeCleanIsAnnouncedInPartsWithOneEnd(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists = 2500
	h.seed(t, lists)
	_, open := h.remove(t, "e1", "x", time.Now())
	require.True(t, open, "a partition never waits for a large clean")
	h.sweepOne(t)

	require.Zero(t, h.count(t, "select count(*) from preferences where entity_id = 'x'"))
	users, finals := map[string]bool{}, 0
	for i, c := range h.cleaned(t) {
		require.Equal(t, i+1, c.Part)
		require.LessOrEqual(t, len(c.AffectedUsers), 1000)
		for _, u := range c.AffectedUsers {
			users[u] = true
		}
		if c.Final {
			finals++
			require.EqualValues(t, lists, c.TotalDeleted)
			require.True(t, c.Complete)
		}
	}
	require.Len(t, users, lists)
	require.Equal(t, 1, finals)
	require.Equal(t, []string{"a:1", "b:2"}, h.shown(t, "user-77"))
}

func TestASweepThatIsCutShortIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	h := open(t)
	const lists = 2500
	h.seed(t, lists)
	h.remove(t, "e1", "x", time.Now())
	c, _ := h.claim(t, "first", 0)
	ctx, stop := context.WithCancel(t.Context())
	err := h.Run(ctx, c, stop)
	require.Error(t, err, "it stopped in the middle")
	require.Equal(t, lists-1000, h.count(t, "select count(*) from preferences where entity_id = 'x'"))

	second, found := h.claim(t, "second", time.Minute)
	require.True(t, found)
	require.Equal(t, fault.Aborted, fault.CodeOf(h.Run(t.Context(), c, nothing)), "the first one is fenced off")
	require.NoError(t, h.Run(t.Context(), second, nothing))
	total := 0
	for _, part := range h.cleaned(t) {
		total += len(part.Lists)
	}
	require.Equal(t, lists, total, "every list is announced once")
}

func TestAnOperatorsCleanRunsToItsEnd(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u2", "a", "x", "b", "c")
	h.save(t, "u1", "x")
	out, err := h.CleanOrphaned(t.Context(), preferences.By{Actor: "ops", RequestID: "r"}, account("x"), false)
	require.NoError(t, err)
	require.Equal(t, preferences.Cleaned{Deleted: 2, AffectedUsers: []string{"u1", "u2"}}, out)
	require.Equal(t, []string{"a:1", "b:3", "c:4"}, h.shown(t, "u2"), "reorder=false leaves the numbers")

	again, err := h.CleanOrphaned(t.Context(), preferences.By{Actor: "ops"}, account("x"), true)
	require.NoError(t, err)
	require.Equal(t, preferences.Cleaned{AffectedUsers: []string{}}, again)

	h.save(t, "u2", "a", "b", "c")
	require.Equal(t, []string{"a:1", "b:3", "c:4"}, h.shown(t, "u2"), "the same list is no change")
	l, err := h.List(t.Context(), "u2", "accounts")
	require.NoError(t, err)
	_, err = h.Delete(t.Context(), "u2", l.Items[0].ID, alice, preferences.Terms{})
	require.NoError(t, err)
	require.Equal(t, []string{"b:1", "c:2"}, h.shown(t, "u2"), "the next change of shape closes the gap")

	_, err = h.CleanOrphaned(t.Context(), alice, preferences.Entity{Type: "planet", ID: "x"}, true)
	require.Equal(t, fault.Unprocessable, fault.CodeOf(err))
	_, err = h.CleanOrphaned(t.Context(), alice, preferences.Entity{Type: preferences.UserType, ID: "u1"}, true)
	require.Equal(t, fault.Unprocessable, fault.CodeOf(err))
}

func TestAnOperationThatDiedBeforeItsStateIsFinished(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	c := preferences.Cleaning{
		Held:    preferences.Held{ID: preferences.NewID(), Kind: preferences.KindClean, Cause: "operation:1", Actor: "ops", Owner: "dead"},
		Targets: []preferences.Target{{Entity: account("x"), StateAt: time.Now().UTC().Truncate(time.Microsecond)}}, Reorder: true,
	}
	require.NoError(t, h.store.Update(t.Context(), func(ctx context.Context, tx preferences.Tx) error { return tx.OpenClean(ctx, c) }))
	h.sweepOne(t)
	require.Empty(t, h.shown(t, "u"))
}

func TestACleanThatIsGivenUpSaysWhatItHasNotReached(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.seed(t, 2500)
	h.remove(t, "e1", "x", time.Now())
	stale, found := h.claim(t, "runner", time.Minute)
	require.True(t, found)
	ctx, stop := context.WithCancel(t.Context())
	require.Error(t, h.Run(ctx, stale, stop), "it is cut short")
	done := h.count(t, "select deleted from operation_steps")
	require.Positive(t, done)

	require.NoError(t, h.giveUp(t, stale))
	told := h.cleaned(t)
	last := told[len(told)-1]
	require.Equal(t, len(told), last.Part)
	require.True(t, last.Final)
	require.False(t, last.Complete)
	require.EqualValues(t, done, last.TotalDeleted)
	require.Empty(t, last.Lists)
	require.Equal(t, 1, h.count(t, `select count(*) from operations o join operation_steps s on s.operation_id = o.id where o.state = 'failed'
		and o.finished_at is not null and o.error->>'message' = 'boom' and o.done = $1 and s.parts = $2`, done, len(told)))
	require.Zero(t, h.count(t, "select count(*) from deleted_entities where cleaned_at is not null"))
	_, found = h.claim(t, "runner", time.Minute)
	require.False(t, found)

	require.Equal(t, fault.Aborted, fault.CodeOf(h.giveUp(t, stale)), "once is enough")
	require.Equal(t, fault.Aborted, fault.CodeOf(h.Run(t.Context(), stale, nothing)), "and nobody goes on")
	require.Len(t, h.cleaned(t), len(told))
}

func TestOnlyTheOwnerOfACleanGivesItUp(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.seed(t, 1200)
	h.remove(t, "e1", "x", time.Now())
	first, _ := h.claim(t, "first", 0)
	h.sweepOne(t)
	require.Equal(t, fault.Aborted, fault.CodeOf(h.giveUp(t, first)))
	require.Equal(t, 1, h.count(t, "select count(*) from operations where state = 'succeeded'"))
}

func TestACleanKeepsTheAttemptsThatItsOwnerCounts(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.seed(t, 1200)
	h.remove(t, "e1", "x", time.Now())
	for want := range 3 {
		c, found := h.claim(t, "runner", time.Minute)
		require.True(t, found)
		require.Equal(t, want+1, c.Attempts)
		require.NoError(t, h.store.RetryLater(t.Context(), c, 0, errors.New("boom")))
	}
	for range 2 { // a process that stops takes its claim back
		c, _ := h.claim(t, "runner", time.Minute)
		require.Equal(t, 4, c.Attempts)
		c.Attempts--
		require.NoError(t, h.store.RetryLater(t.Context(), c, 0, errors.New("stopped")))
	}
	c, _ := h.claim(t, "runner", time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	require.Error(t, h.Run(ctx, c, stop))
	require.NoError(t, h.store.RetryLater(t.Context(), c, 0, errors.New("its owner missed what it achieved")))
	require.Zero(t, h.count(t, "select attempts from operations"), "progress counts, whoever saw it")
	h.sweepOne(t)
	require.Equal(t, 1, h.count(t, "select count(*) from operations where state = 'succeeded' and error is null"))
}

func TestWritersAndADeletionNeverBringTheAccountBack(t *testing.T) {
	t.Parallel()
	h := open(t)
	const users = 12
	stop := make(chan struct{})
	done := make(chan error, users)
	for u := range users {
		go func() {
			user := fmt.Sprint("u", u)
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				ids := []string{"a", "x", "b"}
				if i%2 == 1 {
					ids = []string{"b", "a"} // the account leaves, so that the next save adds it again
				}
				if _, err := h.Replace(t.Context(), user, "accounts", alice, preferences.Terms{}, inputs(ids...)); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	_, open := h.remove(t, "e1", "x", time.Now())
	if open {
		h.sweepOne(t)
	}
	require.Zero(t, h.count(t, "select count(*) from preferences where entity_id = 'x'"), "right after the clean")
	close(stop)
	for range users {
		require.NoError(t, <-done)
	}
	require.Zero(t, h.count(t, "select count(*) from preferences where entity_id = 'x'"), "and ever after")
	require.Zero(t, h.count(t, "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"))
}

func TestADeletedUserGetsNoNewList(t *testing.T) {
	t.Parallel()
	h := open(t)
	err := h.store.SetState(t.Context(), preferences.State{Entity: preferences.Entity{Type: preferences.UserType, ID: "gone"}, Deleted: true, At: time.Now(), Source: "event:u"})
	require.NoError(t, err)
	_, err = h.Replace(t.Context(), "gone", "accounts", alice, preferences.Terms{}, inputs("a"))
	require.Equal(t, fault.ReasonUserDeleted, fault.ReasonOf(err))
	rows, err := h.admin.Query(t.Context(), "select 1 from preference_lists")
	require.NoError(t, err)
	lists, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.Empty(t, lists)
}
