package postgres_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/precondition"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// pair is two processes on one database, of which one keeps copies of lists.
type pair struct {
	*testing.T

	keeps, other *house
}

func openTwo(t *testing.T) pair {
	t.Helper()
	url := pgtest.New(t)
	return pair{t, openWith(t, postgres.Config{URL: url, Cache: 1 << 20}), openAt(t, url)}
}

// copies says how many copies were current, stale or absent.
func (h *house) copies(result string) int64 {
	_, found := h.store.CacheStats()
	return found[result]
}

func (h *house) copiedBytes() int {
	bytes, _ := h.store.CacheStats()
	return bytes
}

// patch sets a member of an item's attributes.
func (h *house) patch(t *testing.T, user string, id uuid.UUID, attributes string, terms preferences.Terms) (preferences.List, error) {
	t.Helper()
	res, err := h.Patch(t.Context(), user, id, alice, terms, preferences.Patch{Attributes: json.RawMessage(attributes)})
	return res.List, err
}

// whole reads a list.
func (h *house) whole(t *testing.T, user string) preferences.List {
	t.Helper()
	l, err := h.List(t.Context(), user, "accounts")
	require.NoError(t, err)
	return l
}

// TestACopyIsShownOnlyAsLongAsItIsCurrent: whatever happens to a list elsewhere,
// a process that has a copy shows what a process without one reads.
func TestACopyIsShownOnlyAsLongAsItIsCurrent(t *testing.T) {
	t.Parallel()
	p := openTwo(t)
	keeps, other := p.keeps, p.other
	first := other.save(t, "u", "a", "b", "c").List
	order := 1
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"nothing", func() error { return nil }},
		{"an item is patched", func() error {
			_, err := other.patch(t, "u", first.Items[0].ID, `{"n": 1}`, preferences.Terms{})
			return err
		}},
		{"an item is moved", func() error {
			_, err := other.Patch(t.Context(), "u", first.Items[2].ID, alice, preferences.Terms{}, preferences.Patch{Order: &order})
			return err
		}},
		{"an item is deleted", func() error {
			_, err := other.Delete(t.Context(), "u", first.Items[1].ID, alice, preferences.Terms{})
			return err
		}},
		{"an account is deleted", func() error {
			_, _, err := other.EntityDeleted(t.Context(), delivery("gone"), account("c"), time.Now())
			return err
		}},
		{"all items are removed", func() error { other.save(t, "u"); return nil }},
		{"a list is saved", func() error { other.save(t, "u", "x", "y"); return nil }},
		{"its user is erased", func() error {
			_, err := other.UserDeleted(t.Context(), delivery("erased"), "u", time.Now())
			return err
		}},
	} {
		_ = keeps.whole(t, "u")
		require.NoError(t, step.do(), step.name)
		require.Equal(t, other.whole(t, "u"), keeps.whole(t, "u"), step.name)
		require.Equal(t, other.whole(t, "u"), keeps.whole(t, "u"), "%s, and is read again", step.name)
	}
	require.GreaterOrEqual(t, keeps.copies("current"), int64(7), "else nothing was tried")
	require.GreaterOrEqual(t, keeps.copies("stale"), int64(6), "else nothing was tried")
}

// TestAWriteOnACopyThatWasReplacedLosesNothing: what a process remembers decides
// nothing. Neither what others wrote is lost, nor is anything refused, or left
// undone, because of what was true once.
func TestAWriteOnACopyThatWasReplacedLosesNothing(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(p pair, l preferences.List){
		"both changes stay": func(p pair, l preferences.List) {
			_, err := p.other.patch(p.T, "u", l.Items[0].ID, `{"n": 1}`, preferences.Terms{})
			require.NoError(p.T, err)
			_, err = p.keeps.patch(p.T, "u", l.Items[1].ID, `{"n": 2}`, preferences.Terms{})
			require.NoError(p.T, err)
			require.Equal(p.T, []string{`a:1{"n": 1}`, `b:2{"n": 2}`, "c:3"}, p.other.shown(p.T, "u"))
		},
		"the tag that the client saw elsewhere holds": func(p pair, l preferences.List) {
			now, err := p.other.patch(p.T, "u", l.Items[0].ID, `{"n": 1}`, preferences.Terms{})
			require.NoError(p.T, err)
			_, err = p.keeps.patch(p.T, "u", l.Items[0].ID, `{"n": 2}`, onlyIf(p.T, now.Items[0].ETag()))
			require.NoError(p.T, err)
		},
		"the tag of the copy does not": func(p pair, l preferences.List) {
			now, err := p.other.patch(p.T, "u", l.Items[0].ID, `{"n": 1}`, preferences.Terms{})
			require.NoError(p.T, err)
			_, err = p.keeps.patch(p.T, "u", l.Items[0].ID, `{"n": 2}`, onlyIf(p.T, l.Items[0].ETag()))
			var refused *fault.Error
			require.ErrorAs(p.T, err, &refused)
			require.Equal(p.T, fault.ReasonPreconditionFailed, refused.Reason)
			require.Equal(p.T, now.Items[0].ETag(), refused.Details["currentEtag"], "of the list, not of the copy")
		},
		"an item that is gone is not found": func(p pair, l preferences.List) {
			_, err := p.other.Delete(p.Context(), "u", l.Items[0].ID, alice, preferences.Terms{})
			require.NoError(p.T, err)
			_, err = p.keeps.patch(p.T, "u", l.Items[0].ID, `{"n": 2}`, preferences.Terms{})
			require.Equal(p.T, fault.NotFound, fault.CodeOf(err))
		},
		"an item that came is found": func(p pair, _ preferences.List) {
			came := p.other.save(p.T, "u", "a", "b", "c", "d").List.Items[3]
			_, err := p.keeps.patch(p.T, "u", came.ID, `{"n": 2}`, preferences.Terms{})
			require.NoError(p.T, err)
		},
		"an order that the copy does not have": func(p pair, l preferences.List) {
			p.other.save(p.T, "u", "a", "b", "c", "d")
			four := 4
			_, err := p.keeps.Patch(p.Context(), "u", l.Items[0].ID, alice, preferences.Terms{}, preferences.Patch{Order: &four})
			require.NoError(p.T, err)
			require.Equal(p.T, []string{"b:1", "c:2", "d:3", "a:4"}, p.other.shown(p.T, "u"))
		},
		"what the copy has is saved again": func(p pair, _ preferences.List) {
			p.other.save(p.T, "u", "c", "a")
			p.keeps.save(p.T, "u", "a", "b", "c")
			require.Equal(p.T, []string{"a:1", "b:2", "c:3"}, p.other.shown(p.T, "u"))
		},
		"what the copy does not have changes nothing": func(p pair, _ preferences.List) {
			saved := p.other.save(p.T, "u", "c", "a").List
			again := p.keeps.save(p.T, "u", "c", "a")
			require.Equal(p.T, preferences.Summary{Total: 2}, again.Summary)
			require.Equal(p.T, saved, again.List)
		},
		"a user who is erased stays so": func(p pair, _ preferences.List) {
			_, err := p.other.UserDeleted(p.Context(), delivery("erased"), "u", time.Now())
			require.NoError(p.T, err)
			_, err = p.keeps.Replace(p.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b", "a"))
			require.Equal(p.T, fault.ReasonUserDeleted, fault.ReasonOf(err))
		},
		"what is so already takes no lock": func(p pair, _ preferences.List) {
			other := p.other.save(p.T, "u", "c").List
			writer, err := p.other.admin.Begin(p.Context())
			require.NoError(p.T, err)
			_, err = writer.Exec(p.Context(), "select from preference_lists for update")
			require.NoError(p.T, err)
			require.Equal(p.T, other, p.keeps.save(p.T, "u", "c").List, "and nothing waits for it")
			require.NoError(p.T, writer.Rollback(p.Context()))
		},
		"of a user who is erased no copy stays, whatever is asked": func(p pair, l preferences.List) {
			_, err := p.other.UserDeleted(p.Context(), delivery("erased"), "u", time.Now())
			require.NoError(p.T, err)
			require.Positive(p.T, p.keeps.copiedBytes())
			patch := preferences.Patch{Attributes: json.RawMessage(`{"n": 1}`)}
			_, err = p.keeps.Patch(p.Context(), "u", l.Items[0].ID, once("k"), preferences.Terms{}, patch)
			require.Equal(p.T, fault.NotFound, fault.CodeOf(err))
			require.Zero(p.T, p.keeps.copiedBytes())
		},
		"a user who is erased has nothing to remove": func(p pair, _ preferences.List) {
			_, err := p.other.UserDeleted(p.Context(), delivery("erased"), "u", time.Now())
			require.NoError(p.T, err)
			require.Equal(p.T, preferences.Summary{}, p.keeps.save(p.T, "u").Summary)
			_, err = p.keeps.Replace(p.Context(), "u", "accounts", once("k"), preferences.Terms{}, inputs())
			require.NoError(p.T, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openTwo(t)
			p.other.save(t, "u", "a", "b", "c")
			story(p, p.keeps.whole(t, "u"))
			require.Equal(t, p.other.whole(t, "u"), p.keeps.whole(t, "u"))
		})
	}
}

func onlyIf(t *testing.T, tag string) preferences.Terms {
	t.Helper()
	conditions, err := precondition.Parse([]string{`"` + tag + `"`}, nil)
	require.NoError(t, err)
	return preferences.Terms{Conditions: conditions}
}

// TestACopyFromBeforeARestoreOfTheDatabaseIsOfNoUse: the version that it is of is
// made a second time, of something else.
func TestACopyFromBeforeARestoreOfTheDatabaseIsOfNoUse(t *testing.T) {
	t.Parallel()
	p := openTwo(t)
	keeps, other := p.keeps, p.other
	a := keeps.save(t, "u", "a").List.Items[0]
	for _, backup := range []string{"preference_lists", "preferences", "changes", "outbox"} {
		_, err := keeps.admin.Exec(t.Context(), fmt.Sprintf("create table backup_%[1]s as table %[1]s", backup))
		require.NoError(t, err)
	}
	keeps.save(t, "u", "a", "lost")
	for _, restore := range []string{
		"update preference_lists l set version = b.version, updated_at = b.updated_at from backup_preference_lists b where b.list_id = l.list_id",
		"delete from preferences where id not in (select id from backup_preferences)",
		"delete from changes where version not in (select version from backup_changes)",
		"delete from outbox where id not in (select id from backup_outbox)",
	} {
		_, err := keeps.admin.Exec(t.Context(), restore)
		require.NoError(t, err)
	}
	other.save(t, "u", "a", "kept")

	_, err := keeps.patch(t, "u", a.ID, `{"n": 1}`, preferences.Terms{})
	require.NoError(t, err)
	require.Equal(t, []string{`a:1{"n": 1}`, "kept:2"}, keeps.shown(t, "u"))
	require.Positive(t, keeps.copies("stale"), "else there was no copy")
}

// TestTheCopiesThatWereUsedLastStay: memory is bounded whatever is read.
func TestTheCopiesThatWereUsedLastStay(t *testing.T) {
	t.Parallel()
	const room = 16 << 10
	h := openWith(t, postgres.Config{URL: pgtest.New(t), Cache: room})
	user := func(i int) string { return fmt.Sprintf("u%d", i) }
	for i := range 40 {
		h.save(t, user(i), "a", "b")
		_ = h.whole(t, user(0))
		require.LessOrEqual(t, h.copiedBytes(), room)
	}
	require.Greater(t, h.copiedBytes(), room*3/4)
	found := func(user string) bool {
		before := h.copies("current")
		_ = h.whole(t, user)
		return h.copies("current") > before
	}
	require.True(t, found(user(0)))
	require.True(t, found(user(39)))
	require.False(t, found(user(1)))

	large := inputs("large")
	large[0].Attributes = fmt.Appendf(nil, `{"text": "%0*d"}`, room/4, 0)
	_, err := h.Replace(t.Context(), "large", "accounts", alice, preferences.Terms{}, large)
	require.NoError(t, err)
	require.False(t, found("large"), "it would have driven out the others")

	h.store.ForgetLists(time.Hour)
	require.True(t, found(user(39)))
	h.store.ForgetLists(0)
	require.Zero(t, h.copiedBytes())
	require.False(t, found(user(39)))
}

// TestRoundTripsWithACopy: the first guess of a write costs no question.
func TestRoundTripsWithACopy(t *testing.T) {
	t.Parallel()
	p := openTwo(t)
	keeps, other := p.keeps, p.other
	keeps.save(t, "u", "a", "b", "c", "d")
	items := keeps.whole(t, "u").Items
	order := 1
	for _, tc := range []struct {
		name  string
		trips int64
		do    func() error
	}{
		{"list", 1, func() error { _ = keeps.whole(t, "u"); return nil }},
		{"replace unchanged", 1, func() error { keeps.save(t, "u", "a", "b", "c", "d"); return nil }},
		{"replace one move", 1, func() error { keeps.save(t, "u", "b", "a", "c", "d"); return nil }},
		{"patch", 1, func() error { _, err := keeps.patch(t, "u", items[2].ID, `{"x": 1}`, preferences.Terms{}); return err }},
		{"move", 1, func() error {
			_, err := keeps.Patch(t.Context(), "u", items[3].ID, alice, preferences.Terms{}, preferences.Patch{Order: &order})
			return err
		}},
		{"create", 1, func() error {
			_, err := keeps.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "e"})
			return err
		}},
		{"delete", 1, func() error {
			_, err := keeps.Delete(t.Context(), "u", items[0].ID, alice, preferences.Terms{})
			return err
		}},
		{"with a key", 2, func() error {
			_, err := keeps.Replace(t.Context(), "u", "accounts", once("k"), preferences.Terms{}, inputs("e", "d"))
			return err
		}},
	} {
		require.Equal(t, tc.trips, keeps.trips.during(func() { require.NoError(t, tc.do()) }), tc.name)
	}
	var trips int64
	for _, id := range []string{"e", "d"} { // the first leaves what was refused before its rollback has a name
		other.save(t, "u", "d", "e")
		trips = keeps.trips.during(func() { keeps.save(t, "u", id) })
	}
	require.Equal(t, int64(3), trips, "a copy that was replaced")
	require.Equal(t, int64(2), keeps.copies("stale"), "each was one")
}

// TestOfOneUserAFewListsAreKept: nobody fills the memory alone.
func TestOfOneUserAFewListsAreKept(t *testing.T) {
	t.Parallel()
	h := openWith(t, postgres.Config{URL: pgtest.New(t), Cache: 1 << 20})
	var domains []preferences.Domain
	for i := range 9 {
		d := preferences.DefaultDomains().All()[0]
		d.Name = fmt.Sprintf("domain-%d", i)
		domains = append(domains, d)
	}
	known, err := preferences.NewDomains(domains)
	require.NoError(t, err)
	prefs := preferences.New(preferences.Options{Store: h.store, Announcer: h.announcer, Domains: known})
	var used []int
	for _, d := range domains {
		_, err := prefs.Replace(t.Context(), "u", d.Name, alice, preferences.Terms{}, inputs("a"))
		require.NoError(t, err)
		used = append(used, h.copiedBytes())
	}
	require.Greater(t, used[3], used[2])
	require.Equal(t, used[3], used[8])
	for i, d := range domains {
		before := h.copies("current")
		l, err := prefs.List(t.Context(), "u", d.Name)
		require.NoError(t, err)
		require.Equal(t, d.Name, l.Domain)
		if i == 0 {
			require.Equal(t, before, h.copies("current"), "the first has long made room")
		}
	}
}

// TestOfAListThatCameInPartNoCopyIsKept: its head has come, so nothing tells it
// from the whole.
func TestOfAListThatCameInPartNoCopyIsKept(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	other := openAt(t, url)
	w, through := pgtest.NewWire(t, url)
	keeps := openWith(t, postgres.Config{URL: through, Cache: 1 << 20})
	ids := make([]string, 400)
	for i := range ids {
		ids[i] = fmt.Sprintf("account-%03d", i)
	}
	other.save(t, "u", ids...)
	w.Cut(pgtest.Cut{Mark: "list\x00", Bytes: pgtest.Everything})
	_ = keeps.whole(t, "u")
	for name, change := range map[string]func() error{
		"list": func() error { _ = keeps.whole(t, "u"); return nil },
		"save": func() error { keeps.save(t, "u", append([]string{"first"}, ids...)...); return nil },
		"create": func() error {
			_, err := keeps.Create(t.Context(), "u", "accounts", alice, preferences.Terms{}, preferences.Input{EntityID: "last"})
			return err
		},
	} {
		other.save(t, "u", ids[:300]...)
		keeps.store.ForgetLists(0)
		w.Cut(pgtest.Cut{Mark: "list\x00", Bytes: w.Answered() / 2})
		require.NoError(t, change(), name)
		require.True(t, w.Fired())
		require.Equal(t, other.whole(t, "u"), keeps.whole(t, "u"), name)
	}

	other.save(t, "u", ids[:200]...)
	w.Cut(pgtest.Cut{Mark: "rollback\x00", Before: true}) // of a guess that was refused
	keeps.save(t, "u", ids[:100]...)
	require.True(t, w.Fired())
	require.Equal(t, other.whole(t, "u"), keeps.whole(t, "u"))
}
