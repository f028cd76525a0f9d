package preferences

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// past is a list and all that became of it.
type past struct {
	now     List
	changes []Change
}

func begun() *past { return &past{now: List{UserID: "u", Domain: "accounts", Items: []Item{}}} }

// write makes the next version, unless nothing differs.
func (p *past) write(t require.TestingT, wanted []Wanted) {
	at := stamp(int(p.now.Version) + 1)
	c := Diff(p.now, wanted, at)
	if c.Empty() {
		return
	}
	c.Next.ID = 7
	p.commit(t, c.Next, c.Delta)
}

// sweep takes an item away as a clean does, which keeps the numbers of the rest
// if it is told to.
func (p *past) sweep(t require.TestingT, at int, reorder bool) {
	next := p.now
	next.Items = slices.Clone(next.Items)
	d := Delta{Removed: []Record{recordOf(next.Items[at])}}
	if !reorder && !next.Gaps {
		for i := range next.Items {
			next.Items[i].Position = int32(next.Items[i].Order)
		}
	}
	next.Items = slices.Delete(next.Items, at, at+1)
	before := slices.Clone(next.Items)
	next.Gaps, next.Version, next.UpdateTime = !reorder, next.Version+1, stamp(int(next.Version)+1).Time
	next.Number()
	for i, it := range next.Items {
		if p.now.Gaps && reorder && it.Order != before[i].Order {
			d.Updated = append(d.Updated, Update{EntityID: it.EntityID, Order: &[2]int{before[i].Order, it.Order}})
		}
	}
	p.commit(t, next, d)
}

func (p *past) commit(t require.TestingT, next List, d Delta) {
	delta, err := json.Marshal(d)
	require.NoError(t, err)
	p.now = next
	p.changes = append(p.changes, Change{ListID: next.ID, Version: next.Version, Time: next.UpdateTime, Gaps: next.Gaps, Delta: delta})
}

// since is what the list's history says to a token.
func (p *past) since(t require.TestingT, token string) (Sync, bool) {
	content, sealed := unseal(syncBound("u", "accounts"), token)
	known, readable := readSpan(content)
	require.True(t, sealed && readable)
	sync, ok, err := known.since(p.now, p.changes[max(known.from.version-1, 0):])
	require.NoError(t, err)
	return sync, ok
}

// page is a page of the list as it is now.
func (p *past) page(q PageQuery) (Page, error) {
	page, err := p.now.Page(q)
	if moved, is := errors.AsType[*movedOnError](err); is {
		return p.now.later(q, moved.seen, p.changes[moved.seen.from.version-1:])
	}
	return page, err
}

// reader keeps a copy of a list, as a client does.
type reader struct {
	items map[uuid.UUID]Item
	token string
}

func (r *reader) apply(s Sync) {
	for _, g := range s.Removed {
		delete(r.items, g.ID)
	}
	for _, it := range s.Changed {
		r.items[it.ID] = it
	}
	r.token = s.List.SyncToken()
}

// shows is the copy in its order, as bodies have it.
func (r *reader) shows() []string {
	items := make([]Item, 0, len(r.items))
	for _, it := range r.items {
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b Item) int { return a.Order - b.Order })
	return bodies(items)
}

func bodies(items []Item) []string {
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = fmt.Sprintf("%s %s %d %s %s", it.ID, it.EntityID, it.Order, it.Attributes, it.ETag())
	}
	return out
}

// step changes a list in a way that somebody draws.
func (p *past) step(t *rapid.T) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	if len(p.now.Items) > 0 && rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		p.sweep(t, rapid.IntRange(0, len(p.now.Items)-1).Draw(t, "swept"), rapid.Bool().Draw(t, "reorder"))
		return
	}
	wanted := want(rapid.Permutation(ids).Draw(t, "ids")[:rapid.IntRange(0, len(ids)).Draw(t, "n")]...)
	if rapid.Bool().Draw(t, "in place") {
		wanted = p.now.Wanted()
	}
	for i := range wanted {
		if rapid.IntRange(0, 2).Draw(t, "patched") == 0 {
			wanted[i].Attributes = json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"x": 1}`, `{"x": 2}`}).Draw(t, "attributes"))
		}
	}
	p.write(t, wanted)
}

// TestDeltasAppliedAreTheList: whoever reads a list, in pages between which it
// may change, and then applies what has changed, now and then, has the list.
func TestDeltasAppliedAreTheList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := begun()
		r := &reader{items: map[uuid.UUID]Item{}}
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			p.step(t)
		}
		q := PageQuery{Size: rapid.IntRange(1, 7).Draw(t, "size")}
		for q.Token != "" || r.token == "" {
			page, err := p.page(q)
			require.NoError(t, err)
			for _, it := range page.Items {
				r.items[it.ID] = it
			}
			if q.Token, r.token = page.NextToken, page.SyncToken; q.Token != "" && rapid.Bool().Draw(t, "changed between pages") {
				p.step(t)
			}
		}
		for range rapid.IntRange(1, 4).Draw(t, "syncs") {
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				p.step(t)
			}
			sync, ok := p.since(t, r.token)
			require.True(t, ok)
			r.apply(sync)
			require.Equal(t, bodies(p.now.Items), r.shows())
		}
		again, ok := p.since(t, r.token)
		require.True(t, ok)
		require.Empty(t, again.Changed)
		require.Empty(t, again.Removed)
	})
}

// TestADeltaNamesWhatDiffers, and nothing else.
func TestADeltaNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	p := begun()
	p.write(t, want("a", "b", "c", "d"))
	token := p.now.SyncToken()
	names := func(s Sync) (changed, removed []string) {
		for _, g := range s.Removed {
			removed = append(removed, g.EntityID)
		}
		return ids(s.Changed), removed
	}
	p.write(t, want("x", "a", "b", "c", "d"))
	p.write(t, want("a", "b", "c", "d"))
	sync, ok := p.since(t, token)
	require.True(t, ok)
	changed, removed := names(sync)
	require.ElementsMatch(t, []string{"a", "b", "c", "d"}, changed, "they were moved, and moved back: their versions differ")
	require.Empty(t, removed, "x came and went")

	token = p.now.SyncToken()
	p.write(t, want("a", "c", "d"))
	sync, _ = p.since(t, token)
	changed, removed = names(sync)
	require.Equal(t, []string{"c", "d"}, changed)
	require.Equal(t, []string{"b"}, removed)
	require.Equal(t, p.now.SyncToken(), sync.List.SyncToken())
}

// TestPagesOfTwoVersionsLeaveNoGhost: an item that came after the first page and
// went after the last one is in neither version that a single one could name.
func TestPagesOfTwoVersionsLeaveNoGhost(t *testing.T) {
	t.Parallel()
	p := begun()
	p.write(t, want("a", "b", "c"))
	first, err := p.now.Page(PageQuery{Size: 2})
	require.NoError(t, err)
	p.write(t, want("a", "b", "c", "ghost"))
	second, err := p.page(PageQuery{Size: 2, Token: first.NextToken})
	require.NoError(t, err)
	require.Equal(t, []string{"c", "ghost"}, ids(second.Items))
	require.Empty(t, first.SyncToken, "only the last page has one")
	p.write(t, want("a", "b", "c"))
	sync, ok := p.since(t, second.SyncToken)
	require.True(t, ok)
	require.Equal(t, []string{"a", "b", "c"}, ids(sync.Changed), "which page told of which version is not known")
	require.Len(t, sync.Removed, 1)
	require.Equal(t, "ghost", sync.Removed[0].EntityID)
}

func TestATokenWhoseHistoryIsGoneIsExpired(t *testing.T) {
	t.Parallel()
	p := begun()
	nothing := p.now.SyncToken()
	p.write(t, want("a"))
	first := p.now.SyncToken()
	p.write(t, want("a", "b"))
	second := p.now.SyncToken()
	sync, ok := p.since(t, nothing)
	require.True(t, ok)
	require.Equal(t, []string{"a", "b"}, ids(sync.Changed))

	content, _ := unseal(syncBound("u", "accounts"), first)
	known, _ := readSpan(content)
	for name, lost := range map[string]func(p *past){
		"pruned":                 func(p *past) { p.changes = p.changes[1:] },
		"a hole":                 func(p *past) { p.changes = slices.Delete(p.changes, 1, 2) },
		"begun again":            func(p *past) { p.now.ID = 8 },
		"restored and rewritten": func(p *past) { p.changes[0].Time = p.changes[0].Time.Add(time.Second) },
	} {
		other := &past{p.now, slices.Clone(p.changes)}
		lost(other)
		_, ok, err := known.since(other.now, other.changes)
		require.NoError(t, err)
		require.False(t, ok, name)
	}
	restored := &past{p.now, p.changes[:1]}
	restored.now.Version = 1
	content, _ = unseal(syncBound("u", "accounts"), second)
	known, _ = readSpan(content)
	_, ok, err := known.since(restored.now, restored.changes)
	require.NoError(t, err)
	require.False(t, ok, "restored to before the token")
}

func TestASyncTokenIsGoodForItsOwnListOnly(t *testing.T) {
	t.Parallel()
	l := listOf("a")
	bob, cards := l, l
	bob.UserID, cards.Domain = "bob", "cards"
	token := l.SyncToken()
	require.NotEqual(t, token, bob.SyncToken())
	require.NotEqual(t, token, cards.SyncToken())
	_, ok := unseal(syncBound(bob.UserID, bob.Domain), token)
	require.False(t, ok)
	_, err := l.Page(PageQuery{Token: token})
	require.Equal(t, fault.ReasonInvalidPageToken, fault.ReasonOf(err))
}

// FuzzSpan holds that a span that can be read is written the same way again.
func FuzzSpan(f *testing.F) {
	f.Add(spanOf(List{}).append(nil))
	f.Add(spanOf(listOf("a")).append(nil))
	f.Add(span{3, moment{4, 5}, moment{6, -7}}.append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, ok := readSpan(raw)
		if !ok {
			return
		}
		again, ok := readSpan(s.append(nil))
		require.True(t, ok)
		require.Equal(t, s, again)
		for _, l := range []List{{}, listOf("a", "b")} {
			_, _, err := s.since(l, []Change{{ListID: l.ID, Version: 1, Time: start, Delta: json.RawMessage(`{}`)}})
			require.NoError(t, err)
			s.widened(l)
		}
	})
}

func TestATokenThatIsCutShortIsNone(t *testing.T) {
	t.Parallel()
	whole := spanOf(List{ID: 300, Version: 7, UpdateTime: start}).append(nil)
	_, ok := readSpan(whole)
	require.True(t, ok)
	for n := range whole {
		_, ok := readSpan(whole[:n])
		require.False(t, ok, "%d of %d bytes", n, len(whole))
	}
}
