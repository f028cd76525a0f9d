package api_test

import (
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
// once.
func TestCase042_UntouchedItemsAreNeitherSkippedNorRepeated(t *testing.T) {
	w := begin(t)
	for name, c := range map[string]struct {
		query  string
		change func(alice caller, l list)
		rest   []string
	}{
		"appended": {"", func(alice caller, _ list) {
			alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"new"}`).item(http.StatusCreated)
		}, []string{"e-4", "e-5", "e-6", "new"}},
		"shown item removed": {"", func(alice caller, l list) {
			alice.send(http.MethodDelete, "/preferences/"+l.find("e-1").ID, "").is(http.StatusNoContent)
		}, []string{"e-4", "e-5", "e-6"}},
		"two shown items removed": {"", func(alice caller, l list) {
			alice.send(http.MethodDelete, "/preferences/"+l.find("e-1").ID, "").is(http.StatusNoContent)
			alice.send(http.MethodDelete, "/preferences/"+l.find("e-2").ID, "").is(http.StatusNoContent)
		}, []string{"e-4", "e-5", "e-6"}},
		"last shown item removed": {"", func(alice caller, l list) {
			alice.send(http.MethodDelete, "/preferences/"+l.find("e-3").ID, "").is(http.StatusNoContent)
		}, []string{"e-4", "e-5", "e-6"}},
		"next item removed": {"", func(alice caller, l list) {
			alice.send(http.MethodDelete, "/preferences/"+l.find("e-4").ID, "").is(http.StatusNoContent)
		}, []string{"e-5", "e-6"}},
		"sorted by id, put first": {"&sortBy=entityId", func(alice caller, _ list) {
			alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a-0","order":1}`).item(http.StatusCreated)
		}, []string{"e-4", "e-5", "e-6"}},
		"sorted by creation, attributes changed": {"&sortBy=createTime", func(alice caller, l list) {
			alice.send(http.MethodPatch, "/preferences/"+l.find("e-5").ID, `{"attributes":{"a":1}}`).item(http.StatusOK)
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
			res := alice.send(http.MethodGet, pageOf(c.query, 9, *first.NextPageToken), "", "If-Match", first.ETag)
			res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		})
	}
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
