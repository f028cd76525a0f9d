package preferences

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/fault"
)

func ids(items []Item) []string {
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = it.EntityID
	}
	return out
}

func TestPagesTogetherAreTheList(t *testing.T) {
	t.Parallel()
	l := listOf("c", "a", "b", "e", "d")
	l.Items[0].CreateTime = start.Add(time.Hour)
	for sort, want := range map[SortBy][]string{
		SortByOrder:      {"c", "a", "b", "e", "d"},
		SortByEntityID:   {"a", "b", "c", "d", "e"},
		SortByCreateTime: nil, // ties are broken by id: any order, but a stable one
		SortByUpdateTime: nil,
	} {
		for _, descending := range []bool{false, true} {
			var got []string
			q := PageQuery{SortBy: sort, Descending: descending, Size: 2}
			for {
				p, err := l.Page(q)
				require.NoError(t, err)
				got = append(got, ids(p.Items)...)
				if q.Token = p.NextToken; q.Token == "" {
					break
				}
			}
			whole, err := l.Page(PageQuery{SortBy: sort, Descending: descending})
			require.NoError(t, err)
			require.Equal(t, ids(whole.Items), got)
			if want != nil && !descending {
				require.Equal(t, want, got)
			}
			if want != nil && descending {
				slices.Reverse(got)
				require.Equal(t, want, got)
			}
		}
	}
}

func TestAnItemThatStaysIsNeitherSkippedNorRepeatedByPaging(t *testing.T) {
	t.Parallel()
	l := listOf("b", "d", "f", "h")
	first, err := l.Page(PageQuery{SortBy: SortByEntityID, Size: 2})
	require.NoError(t, err)
	grown := listOf("a", "b", "c", "d", "e", "f", "h")
	second, err := grown.Page(PageQuery{SortBy: SortByEntityID, Size: 5, Token: first.NextToken})
	require.NoError(t, err)
	require.Equal(t, []string{"e", "f", "h"}, ids(second.Items))
}

// TestNoItemIsMissedOrShownTwice: whatever is written between two pages. By the
// time of the last change this cannot be: a change moves an item.
func TestNoItemIsMissedOrShownTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := begun()
		for range rapid.IntRange(1, 5).Draw(t, "before") {
			p.step(t)
		}
		q := PageQuery{
			SortBy:     rapid.SampledFrom([]SortBy{SortByOrder, SortByOrder, SortByEntityID, SortByCreateTime}).Draw(t, "sort"),
			Descending: rapid.Bool().Draw(t, "descending"),
		}
		stayed, shown := map[uuid.UUID]bool{}, map[uuid.UUID]int{}
		for _, it := range p.now.Items {
			stayed[it.ID] = true
		}
		for first := true; first || q.Token != ""; first = false {
			q.Size = rapid.IntRange(1, 4).Draw(t, "size")
			page, err := p.page(q)
			require.NoError(t, err)
			for _, it := range page.Items {
				shown[it.ID]++
			}
			if q.Token = page.NextToken; q.Token != "" && rapid.Bool().Draw(t, "changed between pages") {
				p.step(t)
				maps.DeleteFunc(stayed, func(id uuid.UUID, _ bool) bool { return p.now.index(id) < 0 })
			}
		}
		for id := range stayed {
			require.Equal(t, 1, shown[id])
		}
		for _, times := range shown {
			require.Equal(t, 1, times)
		}
	})
}

func TestATokenIsGoodForItsOwnListAndSortOnly(t *testing.T) {
	t.Parallel()
	l := listOf("a", "b", "c")
	p, err := l.Page(PageQuery{Size: 1})
	require.NoError(t, err)
	_, err = l.Page(PageQuery{Size: 2, Token: p.NextToken})
	require.NoError(t, err, "another size is honoured")
	bob, cards := l, l
	bob.UserID, cards.Domain = "bob", "cards"
	filtered, err := ParseFilter("entityType = account")
	require.NoError(t, err)
	flipped := []byte(p.NextToken)
	flipped[12] ^= 1
	for name, try := range map[string]func() (Page, error){
		"user":    func() (Page, error) { return bob.Page(PageQuery{Token: p.NextToken}) },
		"domain":  func() (Page, error) { return cards.Page(PageQuery{Token: p.NextToken}) },
		"sort":    func() (Page, error) { return l.Page(PageQuery{Token: p.NextToken, SortBy: SortByEntityID}) },
		"filter":  func() (Page, error) { return l.Page(PageQuery{Token: p.NextToken, Filter: filtered}) },
		"shape":   func() (Page, error) { return l.Page(PageQuery{Token: p.NextToken, Shape: "etag"}) },
		"order":   func() (Page, error) { return l.Page(PageQuery{Token: p.NextToken, Descending: true}) },
		"flipped": func() (Page, error) { return l.Page(PageQuery{Token: string(flipped)}) },
		"garbage": func() (Page, error) { return l.Page(PageQuery{Token: "!"}) },
		"short":   func() (Page, error) { return l.Page(PageQuery{Token: "AAAA"}) },
	} {
		_, err := try()
		require.Equal(t, fault.ReasonInvalidPageToken, fault.ReasonOf(err), name)
	}
}

func FuzzPageToken(f *testing.F) {
	l := listOf("a", "b", "c")
	p, err := l.Page(PageQuery{Size: 1})
	require.NoError(f, err)
	f.Add(p.NextToken)
	f.Fuzz(func(t *testing.T, token string) {
		page, err := l.Page(PageQuery{Token: token})
		if err != nil {
			require.Equal(t, fault.ReasonInvalidPageToken, fault.ReasonOf(err))
			return
		}
		require.True(t, token == "" || token == p.NextToken || len(page.Items) < 3, "an accepted token is one of ours")
	})
}
