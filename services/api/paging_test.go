package api_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// page reads one page; an empty token is the first.
func (c caller) page(query string, size int, token string, h ...string) list {
	c.Helper()
	return c.send(http.MethodGet, pageOf(query, size, token), "", h...).list(http.StatusOK)
}

func pageOf(query string, size int, token string) string {
	return accounts + query + "&pageSize=" + strconv.Itoa(size) + "&pageToken=" + url.QueryEscape(token)
}

// pages reads a list in pages of a size.
func (c caller) pages(query string, size int) (ids []string) {
	c.Helper()
	for token := ""; ; {
		l := c.page(query, size, token)
		require.LessOrEqual(c, len(l.Preferences), size)
		for _, p := range l.Preferences {
			ids = append(ids, p.EntityID)
		}
		if l.NextPageToken == nil {
			return ids
		}
		token = *l.NextPageToken
	}
}

func TestPagesAreTheList(t *testing.T) {
	alice := begin(t).as("alice")
	saved := alice.save(many(17)...)
	for _, query := range []string{"", "&sortBy=order", "&sortBy=entityId", "&sortBy=createTime", "&sortBy=updateTime&sortOrder=desc", "&sortOrder=desc"} {
		whole := alice.send(http.MethodGet, accounts+query, "").list(http.StatusOK)
		var ids []string
		for _, p := range whole.Preferences {
			ids = append(ids, p.EntityID)
		}
		for _, size := range []int{1, 5, 16, 17, 18} {
			require.Equal(t, ids, alice.pages(query, size), "%s by %d", query, size)
		}
		require.Equal(t, saved.ETag, whole.ETag)
	}
	l := alice.page("", 17, "")
	require.Nil(t, l.NextPageToken, "a page that holds all is the last")
	require.Equal(t, 17, alice.page("", 3, "").TotalSize)
}

// TestCase039 and 40: a token is good for the list and the order that it came
// from, and for nothing else.
func TestCase039_AForeignOrAlteredTokenIsRefused(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	alice.save(many(9)...)
	bob.save(many(9)...)
	token := *alice.page("", 4, "").NextPageToken
	refuse := func(c caller, query, token string) {
		c.send(http.MethodGet, pageOf(query, 4, token), "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	}
	for i := range len(token) {
		altered := []byte(token)
		altered[i] ^= 1
		refuse(alice, "", string(altered))
	}
	for _, nonsense := range []string{"x", "=", token + "A", token[1:], "e30"} {
		refuse(alice, "", nonsense)
	}
	// Case 40.
	refuse(bob, "", token)
	refuse(alice, "&sortBy=entityId", token)
	refuse(alice, "&sortOrder=desc", token)
	// A token is judged before the conditions, like every parameter.
	alice.send(http.MethodGet, pageOf("", 4, "x"), "", "If-None-Match", "*").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN")
	require.Equal(t, []string{"e-5", "e-6", "e-7", "e-8"}, idsOf(w.admin().page("&userId=alice", 4, token)))
}

func idsOf(l list) []string {
	ids := make([]string, len(l.Preferences))
	for i, p := range l.Preferences {
		ids[i] = p.EntityID
	}
	return ids
}

func TestCase041_PagesMayChangeTheirSize(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(9)...)
	first := alice.page("", 2, "")
	require.Equal(t, []string{"e-3", "e-4", "e-5"}, idsOf(alice.page("", 3, *first.NextPageToken)))
}

// TestCase042: while others write, items that they do not touch come exactly
// once. Pages by order go by that of the first one.
func TestCase042_UntouchedItemsAreNeitherSkippedNorRepeated(t *testing.T) {
	w := begin(t)
	for name, c := range map[string]struct {
		query  string
		change func(alice caller, l list)
		rest   []string
	}{
		"appended":                    {"", func(alice caller, _ list) { alice.adds("new", 7) }, []string{"e-4", "e-5", "e-6", "new"}},
		"put first":                   {"", func(alice caller, _ list) { alice.adds("new", 1) }, []string{"e-4", "e-5", "e-6", "new"}},
		"put first, descending":       {"&sortOrder=desc", func(alice caller, _ list) { alice.adds("new", 1) }, []string{"e-3", "e-2", "e-1", "new"}},
		"shown item removed":          {"", func(alice caller, l list) { alice.removes(l, "e-1") }, []string{"e-4", "e-5", "e-6"}},
		"two shown items removed":     {"", func(alice caller, l list) { alice.removes(l, "e-1", "e-2") }, []string{"e-4", "e-5", "e-6"}},
		"last shown item removed":     {"", func(alice caller, l list) { alice.removes(l, "e-3") }, []string{"e-4", "e-5", "e-6"}},
		"next item removed":           {"", func(alice caller, l list) { alice.removes(l, "e-4") }, []string{"e-5", "e-6"}},
		"removed and appended":        {"", func(alice caller, l list) { alice.removes(l, "e-2"); alice.adds("new", 1) }, []string{"e-4", "e-5", "e-6", "new"}},
		"shown item moved behind":     {"", func(alice caller, l list) { alice.moves(l, "e-1", 6) }, []string{"e-4", "e-5", "e-6"}},
		"last shown item moved away":  {"", func(alice caller, l list) { alice.moves(l, "e-3", 6) }, []string{"e-4", "e-5", "e-6"}},
		"last item moved to the top":  {"", func(alice caller, l list) { alice.moves(l, "e-6", 1) }, []string{"e-4", "e-5", "e-6"}},
		"the same, descending":        {"&sortOrder=desc", func(alice caller, l list) { alice.moves(l, "e-6", 1) }, []string{"e-3", "e-2", "e-1"}},
		"all turned round":            {"", func(alice caller, _ list) { alice.save("e-6", "e-5", "e-4", "e-3", "e-2", "e-1") }, []string{"e-4", "e-5", "e-6"}},
		"moved, of what a filter has": {"&filter=entityType%3Daccount", func(alice caller, l list) { alice.moves(l, "e-6", 1) }, []string{"e-4", "e-5", "e-6"}},
		"sorted by id, put first":     {"&sortBy=entityId", func(alice caller, _ list) { alice.adds("a-0", 1) }, []string{"e-4", "e-5", "e-6"}},
		"sorted by creation, attributes changed": {"&sortBy=createTime", func(alice caller, l list) {
			alice.patch(l.find("e-5").ID, `{"attributes":{"a":1}}`).item(http.StatusOK)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			alice := w.in(t).as("alice " + name)
			l := alice.save(many(6)...)
			first := alice.page(c.query, 3, "")
			c.change(alice, l)
			rest := idsOf(alice.page(c.query, 9, *first.NextPageToken))
			if c.rest == nil {
				all := append(idsOf(first), rest...)
				slices.Sort(all)
				require.Equal(t, many(6), all)
				return
			}
			require.Equal(t, c.rest, rest)
			require.Equal(t, c.rest[:1], alice.rest(c.query, 1, *first.NextPageToken)[:1])
			require.Equal(t, c.rest, alice.rest(c.query, 1, *first.NextPageToken))
			res := alice.send(http.MethodGet, pageOf(c.query, 9, *first.NextPageToken), "", "If-Match", first.ETag)
			res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		})
	}
}

// TestCase042_ACleanThatLeavesAGapHidesNothing: it numbers the others anew.
func TestCase042_ACleanThatLeavesAGapHidesNothing(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save(append([]string{"gone"}, many(6)...)...)
	first := alice.page("", 3, "")
	require.Equal(t, []string{"gone", "e-1", "e-2"}, idsOf(first))
	alice.removes(l, "e-1")
	alice.clean(`{"entityId":"gone","entityType":"account","reorder":false}`)
	require.Equal(t, []string{"e-3", "e-4", "e-5", "e-6"}, alice.rest("", 3, *first.NextPageToken))
}

// rest reads all pages behind a token.
func (c caller) rest(query string, size int, token string) (ids []string) {
	c.Helper()
	for {
		l := c.page(query, size, token)
		ids = append(ids, idsOf(l)...)
		if l.NextPageToken == nil {
			return ids
		}
		token = *l.NextPageToken
	}
}

// adds puts a new item at a place.
func (c caller) adds(entity string, order int) {
	c.Helper()
	order = min(order, c.read().TotalSize+1)
	c.send(http.MethodPost, "/preferences", fmt.Sprintf(`{"domain":"accounts","entityId":%q,"order":%d}`, entity, order)).item(http.StatusCreated)
}

// removes removes items one by one.
func (c caller) removes(l list, entities ...string) {
	c.Helper()
	for _, e := range entities {
		c.send(http.MethodDelete, "/preferences/"+l.find(e).ID, "").is(http.StatusNoContent)
	}
}

// moves moves an item.
func (c caller) moves(l list, entity string, order int) {
	c.Helper()
	c.patch(l.find(entity).ID, fmt.Sprintf(`{"order":%d}`, order)).item(http.StatusOK)
}

// TestWhoReadsPagesWhileOthersWriteMissesNothing: whatever is written between
// any two pages, items that are there from the first page to the last come
// exactly once, and no item comes twice.
func TestWhoReadsPagesWhileOthersWriteMissesNothing(t *testing.T) {
	w := begin(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	for round := range 40 {
		alice := w.as(fmt.Sprintf("alice-%d", round))
		query := []string{"", "&sortOrder=desc"}[draw.IntN(2)]
		l := alice.save(many(12)...)
		alice.removes(l, "e-4") // a hole
		stayed := map[string]bool{}
		shown := map[string]int{}
		for _, p := range alice.read().Preferences {
			stayed[p.ID] = true
		}
		for token := ""; ; {
			page := alice.page(query, 1+draw.IntN(4), token)
			for _, p := range page.Preferences {
				shown[p.ID]++
			}
			if page.NextPageToken == nil {
				break
			}
			token = *page.NextPageToken
			for range draw.IntN(3) {
				alice.disturb(draw, round)
			}
			there := map[string]bool{}
			for _, p := range alice.read().Preferences {
				there[p.ID] = true
			}
			maps.DeleteFunc(stayed, func(id string, _ bool) bool { return !there[id] })
		}
		for id := range stayed {
			require.Equal(t, 1, shown[id], "round %d, seed %d", round, seed)
		}
		for id, times := range shown {
			require.Equal(t, 1, times, "%s in round %d, seed %d", id, round, seed)
		}
	}
}

// disturb makes one write of any kind.
func (c caller) disturb(draw *rand.Rand, round int) {
	c.Helper()
	l := c.read()
	if len(l.Preferences) == 0 {
		c.save("x", "y")
		return
	}
	at := draw.IntN(len(l.Preferences))
	switch it := l.Preferences[at]; draw.IntN(5) {
	case 0:
		c.moves(l, it.EntityID, 1+draw.IntN(len(l.Preferences)))
	case 1:
		c.removes(l, it.EntityID)
	case 2:
		c.adds(fmt.Sprintf("n-%d", draw.Uint64()), 1+at)
	case 3:
		only := fmt.Sprintf("only-%d-%d", round, draw.Uint64()) // a clean is everybody's
		c.adds(only, 1+at)
		c.clean(fmt.Sprintf(`{"entityId":%q,"entityType":"account","reorder":%t}`, only, draw.IntN(2) == 0))
	default:
		ids := idsOf(l)
		draw.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		c.save(ids...)
	}
}

// TestPagesOfAListThatChangedTooMuchStartAgain: what the order was when the
// first page was read has to be known.
func TestPagesOfAListThatChangedTooMuchStartAgain(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save(many(6)...)
	token := *alice.page("", 2, "").NextPageToken
	alice.save("e-2", "e-1")
	forget := func(version int) {
		_, err := w.db.ExecContext(t.Context(), "delete from changes where version = $1", version)
		require.NoError(t, err)
	}
	forget(1)
	p := alice.send(http.MethodGet, pageOf("", 2, token), "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	require.Contains(t, p.Error.Message, "Start again without pageToken.")
	require.Equal(t, []string{"e-2", "e-1"}, alice.pages("", 1))
}

func TestCase043_TiesKeepTheirOrder(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(30)...) // all of one time
	for _, query := range []string{"&sortBy=updateTime", "&sortBy=createTime&sortOrder=desc"} {
		whole := idsOf(alice.page(query, 30, ""))
		for range 3 {
			require.Equal(t, whole, alice.pages(query, 7))
		}
	}
}
