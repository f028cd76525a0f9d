package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// cleaning is an operation for the account x that nobody has begun.
func cleaning(cause string) preferences.Cleaning {
	return preferences.Cleaning{
		Held:    preferences.Held{ID: preferences.NewID(), Kind: preferences.KindClean, Cause: cause, Actor: "ops"},
		Targets: []preferences.Target{{Entity: account("x")}}, Reorder: true,
	}
}

func TestWorkThatRanOutOfTimeHoldsNoLock(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a")
	err := h.store.Update(t.Context(), func(ctx context.Context, tx preferences.Tx) error {
		if err := tx.OpenClean(ctx, cleaning("event:e")); err != nil {
			return err
		}
		<-ctx.Done() // whatever it was that took so long
		return ctx.Err()
	})
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Zero(t, h.count(t, "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"))
}

func TestAListThatIsHeldForLongIsUnavailable(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a")
	free := h.hold(t, "u")
	_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b"))
	require.Equal(t, fault.ReasonUnavailable, fault.ReasonOf(err))
	free()
	require.Equal(t, []string{"a:1"}, h.shown(t, "u"))
	h.save(t, "u", "b")
}

func TestACleanDoesNotEndForAnEntityThatCameBackMeanwhile(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := cleaning("operation:1")
	err := h.store.Update(t.Context(), func(ctx context.Context, tx preferences.Tx) error {
		if err := tx.OpenClean(ctx, first); err != nil {
			return err
		}
		lists, err := tx.Victims(ctx, account("x"))
		if err != nil || len(lists) > 0 {
			return fmt.Errorf("lists %v: %w", lists, err)
		}
		h.save(t, "u", "x")
		deleted := preferences.State{Entity: account("x"), Deleted: true, At: time.Now(), Source: "event:e2"}
		if err := h.store.SetState(ctx, deleted); err != nil {
			return err
		}
		now, err := tx.NextClean(ctx, first.Held)
		if err != nil {
			return err
		}
		if err := tx.EndClean(ctx, now, preferences.Succeeded, nil); err != nil {
			return err
		}
		return tx.EndOperation(ctx, first.Held, preferences.Succeeded, nil)
	})
	require.NoError(t, err)
	require.Zero(t, h.count(t, "select count(*) from deleted_entities where cleaned_at is not null"))
	h.remove(t, "e3", "x", time.Now())
	require.Equal(t, 1, h.count(t, "select count(*) from deleted_entities where cleaned_at is not null"))
}

func TestAVersionThatIsThereAlreadyIsAConflict(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "a", "b")
	_, err := h.admin.Exec(t.Context(), `create sequence writes;
		create function collide() returns trigger language plpgsql as $$
		begin
			if nextval('writes') = 1 then raise unique_violation; end if;
			return new;
		end $$;
		create trigger collide before insert on changes for each row execute function collide()`)
	require.NoError(t, err)
	h.save(t, "u", "b", "a")
	require.Equal(t, 2, h.count(t, "select version from preference_lists"))
	require.Equal(t, 2, h.count(t, "select last_value from writes"))
}

// TestWritersReadWhatIsCommittedWhateverTheDatabasePrefers: with one snapshot for
// all of a transaction, whoever waited for a lock would not see why.
func TestWritersReadWhatIsCommittedWhateverTheDatabasePrefers(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, err := h.admin.Exec(t.Context(), `do $$ begin
			execute format('alter database %I set default_transaction_isolation = serializable', current_database());
		end $$;
		create table levels (level text);
		create function note() returns trigger language plpgsql as $$
		begin
			insert into levels values (current_setting('transaction_isolation'));
			return new;
		end $$;
		create trigger note before insert on changes for each row execute function note()`)
	require.NoError(t, err)
	other := openUnchecked(t, h.url) // it has no connection yet
	other.save(t, "u", "a", "b")
	other.save(t, "u", "b", "a")
	require.Equal(t, 2, h.count(t, "select count(*) from levels where level = 'read committed'"))
	require.Equal(t, 2, h.count(t, "select count(*) from levels"))
}

func TestAttributesAreAnsweredAsTheyAreReadAtTheEdges(t *testing.T) {
	t.Parallel()
	h := open(t)
	values := []string{
		`0`, `-0`, `-0.0`, `1.50`, `1e2`, `1E+2`, `1e-7`, `1e21`, `1e22`, `123456789012345680000`, `1.7976931348623157e308`,
		`5e-324`, `2.2250738585072014e-308`, `0.1`, `9007199254740993`, `-1e-9`,
		`""`, `"\u0001\u001f\u007f\u0080\u2028\ufeff"`, `"\ud83d\ude00 é"`, `"</script>&\/"`, `"\b\f\n\r\t\"\\"`,
		`[]`, `{}`, `[[],{},[null,true,false]]`, `{"":1}`, `{"b":1,"a":2,"aa":3,"é":4,"ü":5,"zz":6}`, `null`,
	}
	in := make([]preferences.Input, len(values))
	for i, v := range values {
		in[i] = preferences.Input{EntityID: fmt.Sprintf("e%d", i), Attributes: json.RawMessage(`{"v":` + v + `}`)}
	}
	res, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
	require.NoError(t, err)
	read, err := h.List(t.Context(), "u", "accounts")
	require.NoError(t, err)
	for i := range values {
		require.Equal(t, string(res.List.Items[i].Attributes), string(read.Items[i].Attributes), values[i])
	}
	for i := range in {
		in[i].Attributes = read.Items[i].Attributes // a client that sends back what it read
	}
	again, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
	require.NoError(t, err)
	require.Equal(t, preferences.Summary{Total: len(values)}, again.Summary)
	for i, it := range read.Items {
		patched, err := h.Patch(t.Context(), "u", it.ID, alice, preferences.Terms{}, preferences.Patch{Attributes: json.RawMessage(`{"n":{"gone":null,"x":` + strings.TrimSpace(values[i]) + `}}`)})
		require.NoError(t, err)
		stored, _, err := h.Item(t.Context(), "u", it.ID)
		require.NoError(t, err)
		require.Equal(t, patched.List.Item(it.ID), stored, values[i])
	}
}

func TestWritesOfAListThatShowsGaps(t *testing.T) {
	t.Parallel()
	rank := func(n int) *int { return &n }
	attributes := json.RawMessage(`{"f":1}`)
	for name, tc := range map[string]struct {
		write func(h *house, l preferences.List) error
		shown []string
	}{
		"its own rank is no move": {func(h *house, l preferences.List) error {
			res, err := h.Patch(t.Context(), "u", l.Items[1].ID, alice, preferences.Terms{}, preferences.Patch{Order: rank(2)})
			if it := res.List.Item(l.Items[1].ID); err == nil && it.Order != 3 {
				err = fmt.Errorf("answered %d", it.Order)
			}
			return err
		}, []string{"a:1", "c:3", "e:5"}},
		"attributes keep the gaps": {func(h *house, l preferences.List) error {
			res, err := h.Patch(t.Context(), "u", l.Items[1].ID, alice, preferences.Terms{}, preferences.Patch{Attributes: attributes, Order: rank(2)})
			if it := res.List.Item(l.Items[1].ID); err == nil && it.Order != 3 {
				err = fmt.Errorf("answered %d", it.Order)
			}
			return err
		}, []string{"a:1", `c:3{"f": 1}`, "e:5"}},
		"a move closes them": {func(h *house, l preferences.List) error {
			_, err := h.Patch(t.Context(), "u", l.Items[2].ID, alice, preferences.Terms{}, preferences.Patch{Order: rank(1)})
			return err
		}, []string{"e:1", "a:2", "c:3"}},
		"a shown number is not a rank": {func(h *house, l preferences.List) error {
			_, err := h.Patch(t.Context(), "u", l.Items[2].ID, alice, preferences.Terms{}, preferences.Patch{Order: rank(5)})
			if fault.CodeOf(err) != fault.Invalid {
				return fmt.Errorf("5 is outside the list of 3, and was answered %w", err)
			}
			return nil
		}, []string{"a:1", "c:3", "e:5"}},
		"a new item at a rank closes them": {func(h *house, _ preferences.List) error {
			res, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "n", Order: rank(2)})
			if it := res.List.Of("n"); err == nil && it.Order != 2 {
				err = fmt.Errorf("answered %d", it.Order)
			}
			return err
		}, []string{"a:1", "n:2", "c:3", "e:4"}},
		"a new item at the end closes them": {func(h *house, _ preferences.List) error {
			_, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "n"})
			return err
		}, []string{"a:1", "c:2", "e:3", "n:4"}},
		"a rank beyond the end is refused": {func(h *house, _ preferences.List) error {
			_, err := h.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "n", Order: rank(5)})
			if fault.CodeOf(err) != fault.Invalid {
				return fmt.Errorf("answered %w", err)
			}
			return nil
		}, []string{"a:1", "c:3", "e:5"}},
		"the shown numbers sent back are no change": {func(h *house, l preferences.List) error {
			in := inputs("a", "c", "e")
			for i := range in {
				in[i].Order = rank(l.Items[i].Order)
			}
			res, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, in)
			if err == nil && res.List.Version != l.Version {
				err = fmt.Errorf("wrote version %d", res.List.Version)
			}
			return err
		}, []string{"a:1", "c:3", "e:5"}},
		"the last item's removal closes them": {func(h *house, l preferences.List) error {
			_, err := h.Delete(t.Context(), "u", l.Items[2].ID, alice, preferences.Terms{})
			return err
		}, []string{"a:1", "c:2"}},
		"a clean that reorders closes them": {func(h *house, _ preferences.List) error {
			_, err := h.CleanOrphaned(t.Context(), alice, account("a"), true)
			return err
		}, []string{"c:1", "e:2"}},
		"a clean that does not leaves more": {func(h *house, _ preferences.List) error {
			_, err := h.CleanOrphaned(t.Context(), alice, account("a"), false)
			return err
		}, []string{"c:3", "e:5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.save(t, "u", "a", "b", "c", "d", "e")
			for _, id := range []string{"b", "d"} {
				_, err := h.CleanOrphaned(t.Context(), alice, account(id), false)
				require.NoError(t, err)
			}
			l, err := h.List(t.Context(), "u", "accounts")
			require.NoError(t, err)
			require.Equal(t, []string{"a:1", "c:3", "e:5"}, show(l))
			require.NoError(t, tc.write(h, l))
			require.Equal(t, tc.shown, h.shown(t, "u"))
		})
	}
}

func TestADeadLetterThatIsSentAgainIsApplied(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "x")
	at := time.Now()
	require.NoError(t, h.store.Update(t.Context(), func(ctx context.Context, tx preferences.Tx) error {
		_, err := tx.Seen(ctx, delivery("e1"), preferences.DeadLettered)
		return err
	}))
	fresh, _, err := h.EntityDeleted(t.Context(), delivery("e1"), account("x"), at)
	require.NoError(t, err)
	require.False(t, fresh, "the same record once more is a repetition")

	again := delivery("e1")
	again.Offset = 99
	for _, want := range []bool{true, false} {
		fresh, _, err = h.EntityDeleted(t.Context(), again, account("x"), at)
		require.NoError(t, err)
		require.Equal(t, want, fresh)
	}
	require.Empty(t, h.shown(t, "u"))
	require.Len(t, h.cleaned(t), 1)
	h.published(t)
	require.Empty(t, h.broken(t))
}
