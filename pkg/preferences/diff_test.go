package preferences

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// start is when these tests happen.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// listOf builds a stored list of plain items at positions 1..n.
func listOf(ids ...string) List {
	l := List{ID: 1, UserID: "u", Domain: "accounts", Version: 1, UpdateTime: start, Items: []Item{}}
	for i, id := range ids {
		l.Items = append(l.Items, Item{
			ID: uuid.NewSHA1(uuid.Nil, []byte(id)), EntityType: "account", EntityID: id, Attributes: json.RawMessage("{}"),
			Version: 1, CreateTime: start, UpdateTime: start, Position: int32(i + 1),
		})
	}
	l.Number()
	return l
}

func want(ids ...string) []Wanted {
	out := make([]Wanted, len(ids))
	for i, id := range ids {
		out[i] = Wanted{EntityType: "account", EntityID: id}
	}
	return out
}

func stamp(n int) Stamp {
	return Stamp{Time: start.Add(time.Duration(n) * time.Microsecond), NewID: NewID}
}

func TestDiffWritesAsFewRowsAsItCan(t *testing.T) {
	t.Parallel()
	gapped := listOf("a", "b", "c")
	gapped.Gaps = true
	gapped.Items[2].Position = 4
	gapped.Number()
	holed := listOf("a", "b", "c")
	holed.Items[1].Position, holed.Items[2].Position = 5, 9
	holed.Number()
	for name, tc := range map[string]struct {
		stored           List
		wanted           []Wanted
		ins, upd, del    int
		summary          Summary
		fields           []string
		moved            []string // named in the delta with an order
		positions        []int32
		orders           []int
		stillShowingGaps bool
	}{
		"nothing":            {stored: listOf("a", "b"), wanted: want("a", "b"), summary: Summary{Total: 2}},
		"append":             {stored: listOf("a"), wanted: want("a", "b"), ins: 1, summary: Summary{Created: 1, Total: 2}, positions: []int32{1, 2}, orders: []int{1, 2}},
		"append after holes": {stored: holed, wanted: want("a", "b", "c", "d"), ins: 1, summary: Summary{Created: 1, Total: 4}, positions: []int32{1, 5, 9, 10}, orders: []int{1, 2, 3, 4}},
		"remove": {
			stored: listOf("a", "b", "c"), wanted: want("a", "c"), del: 1, summary: Summary{Updated: 1, Deleted: 1, Total: 2},
			fields: []string{"order"}, positions: []int32{1, 3}, orders: []int{1, 2},
		},
		"insert between": {
			stored: listOf("a", "b"), wanted: want("a", "x", "b"), ins: 1, upd: 1, summary: Summary{Created: 1, Updated: 1, Total: 3},
			fields: []string{"order"}, positions: []int32{1, 2, 3}, orders: []int{1, 2, 3},
		},
		"one moves": {
			stored: listOf("a", "b", "c", "d"), wanted: want("d", "a", "b", "c"), upd: 4, summary: Summary{Updated: 4, Total: 4},
			fields: []string{"order"}, moved: []string{"d"}, positions: []int32{1, 2, 3, 4}, orders: []int{1, 2, 3, 4},
		},
		"scenario 2": {
			stored: listOf("acc-001", "acc-003", "acc-004", "acc-002"), wanted: want("acc-003", "acc-005", "acc-001", "acc-004", "acc-002"),
			ins: 1, upd: 4, summary: Summary{Created: 1, Updated: 4, Total: 5}, fields: []string{"order"}, moved: []string{"acc-003"},
			positions: []int32{1, 2, 3, 4, 5}, orders: []int{1, 2, 3, 4, 5},
		},
		"gaps stay while the shape does": {stored: gapped, wanted: want("a", "b", "c"), summary: Summary{Total: 3}, stillShowingGaps: true},
		"gaps close with the next append": {
			stored: gapped, wanted: want("a", "b", "c", "d"), ins: 1, upd: 1, summary: Summary{Created: 1, Updated: 1, Total: 4},
			fields: []string{"order"}, moved: []string{"c"}, positions: []int32{1, 2, 3, 4}, orders: []int{1, 2, 3, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Diff(tc.stored, tc.wanted, stamp(1))
			require.Len(t, c.Insert, tc.ins, "rows inserted")
			require.Len(t, c.Update, tc.upd, "rows rewritten")
			require.Len(t, c.Delete, tc.del, "rows deleted")
			require.Equal(t, tc.summary, c.Summary())
			require.Equal(t, tc.summary == Summary{Total: len(tc.wanted)}, c.Empty())
			require.ElementsMatch(t, tc.fields, c.Fields)
			require.Equal(t, tc.stillShowingGaps, c.Next.Gaps)
			var moved []string
			for _, u := range c.Delta.Updated {
				if u.Order != nil {
					moved = append(moved, u.EntityID)
				}
			}
			require.Equal(t, tc.moved, moved)
			for i := range tc.positions {
				require.Equal(t, tc.positions[i], c.Next.Items[i].Position)
				require.Equal(t, tc.orders[i], c.Next.Items[i].Order)
			}
		})
	}
}

func TestDiffKeepsReplacesAndClearsAttributes(t *testing.T) {
	t.Parallel()
	stored := listOf("a", "b", "c")
	for i := range stored.Items {
		stored.Items[i].Attributes = json.RawMessage(`{"n": 1, "fav": true}`)
	}
	wanted := want("a", "b", "c")
	wanted[1].Attributes = json.RawMessage(`{"fav":true,"n":1.0}`)
	wanted[2].Attributes = json.RawMessage(`{}`)
	c := Diff(stored, wanted, stamp(1))
	require.Equal(t, []string{"c"}, c.Updated, "absent keeps, another spelling is no change, {} clears")
	require.Equal(t, []string{"attributes.fav", "attributes.n"}, c.Fields)
	require.JSONEq(t, `{}`, string(c.Next.Items[2].Attributes))
	require.EqualValues(t, 2, c.Next.Items[2].Version)
}

func TestChangedFieldsAreBoundedAndKeepTheOrder(t *testing.T) {
	t.Parallel()
	stored, wanted := listOf("a", "b"), want("b", "a")
	many := map[string]int{}
	for i := range 200 {
		many[fmt.Sprintf("k%03d", i)] = i
	}
	b, err := json.Marshal(many)
	require.NoError(t, err)
	wanted[0].Attributes = b
	fields := Diff(stored, wanted, stamp(1)).Fields
	require.Len(t, fields, maxFields+2)
	require.Contains(t, fields, "order")
	require.Contains(t, fields, "attributes.*")
}

// table is what a write's rows leave in a table: the statements' meaning.
type table map[uuid.UUID]Item

func (tb table) apply(c Changes) {
	for _, id := range c.Delete {
		delete(tb, id)
	}
	for _, u := range c.Update {
		row := tb[u.ID]
		row.Position, row.Attributes = u.Position, u.Attributes
		if u.Changed {
			row.Version, row.UpdateTime = row.Version+1, c.Next.UpdateTime
		}
		tb[u.ID] = row
	}
	for _, it := range c.Insert {
		tb[it.ID] = it
	}
}

func (tb table) read(head List) List {
	head.Items = make([]Item, 0, len(tb))
	for _, it := range tb {
		head.Items = append(head.Items, it)
	}
	head.Number()
	return head
}

// clean is what chunkgaps and chunkclean do to one list.
func (tb table) clean(l List, at int, reorder bool, now time.Time) (List, Delta) {
	d := Delta{Removed: []Record{recordOf(l.Items[at])}}
	if !reorder && !l.Gaps {
		for _, it := range l.Items {
			it.Position = int32(it.Order)
			tb[it.ID] = it
		}
	}
	delete(tb, l.Items[at].ID)
	next := l
	next.Version, next.UpdateTime, next.Gaps = l.Version+1, now, !reorder
	next = tb.read(next)
	if l.Gaps && reorder {
		for i, it := range slices.Delete(slices.Clone(l.Items), at, at+1) {
			if to := next.Items[i].Order; to != it.Order {
				d.Updated = append(d.Updated, Update{EntityID: it.EntityID, Order: &[2]int{it.Order, to}})
			}
		}
	}
	return next, d
}

// edit returns a random list that a writer may want.
func edit(r *rand.Rand, l List) []Wanted {
	w := l.Wanted()
	for range r.IntN(4) {
		switch k := r.IntN(7); {
		case k == 0 && len(w) > 0:
			i := r.IntN(len(w))
			w = slices.Delete(w, i, i+1)
		case k <= 2 && len(w) > 1:
			i := r.IntN(len(w))
			x := w[i]
			w = slices.Insert(slices.Delete(w, i, i+1), r.IntN(len(w)), x)
		case k == 3 && len(w) > 0:
			w[r.IntN(len(w))].Attributes = json.RawMessage(fmt.Sprintf(`{"n":%d,"m":1.50}`, r.IntN(3)))
		case k == 4:
			r.Shuffle(len(w), func(i, j int) { w[i], w[j] = w[j], w[i] })
		default:
			x := Wanted{EntityType: "account", EntityID: fmt.Sprint("e", r.IntN(12))}
			if !slices.ContainsFunc(w, func(y Wanted) bool { return y.Entity() == x.Entity() }) {
				w = slices.Insert(w, r.IntN(len(w)+1), x)
			}
		}
	}
	return w
}

type version struct {
	list  List
	delta Delta
}

// history lives through random writes and cleans and checks each of them.
func history(t *testing.T, r *rand.Rand, steps int) []version {
	t.Helper()
	l := listOf()
	l.Version = 0
	tb, out, tags := table{}, []version{{list: l}}, map[string]bool{}
	for n := range steps {
		var d Delta
		before := l
		if len(l.Items) > 0 && r.IntN(4) == 0 {
			l, d = tb.clean(l, r.IntN(len(l.Items)), r.IntN(2) == 0, start.Add(time.Duration(n)))
		} else {
			wanted := edit(r, l)
			c := Diff(l, wanted, stamp(n))
			if c.Empty() {
				require.Empty(t, c.Update)
				continue
			}
			tb.apply(c)
			l, d = tb.read(List{ID: 1, UserID: "u", Domain: "accounts", Version: c.Next.Version, UpdateTime: c.Next.UpdateTime, Gaps: c.Next.Gaps}), c.Delta
			same(t, c.Next, l, "the answer is what the next read sees")
			require.True(t, Diff(l, wanted, stamp(n)).Empty(), "the same again is no change")
			checkOrders(t, l)
		}
		require.Equal(t, before.Version+1, l.Version)
		require.False(t, tags[l.ETag()], "a tag never names two bodies")
		tags[l.ETag()] = true
		out = append(out, version{l, d})
	}
	return out
}

// same lets cmp explain a difference, and only that: it takes a hundred times as
// long as finding that there is none.
func same(t *testing.T, want, got any, what string, args ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		require.Empty(t, cmp.Diff(want, got), append([]any{what}, args...)...)
	}
}

func checkOrders(t *testing.T, l List) {
	t.Helper()
	for i, it := range l.Items {
		switch {
		case l.Gaps && i > 0 && it.Order <= l.Items[i-1].Order:
			require.Failf(t, "orders rise", "%d follows %d", it.Order, l.Items[i-1].Order)
		case !l.Gaps && it.Order != i+1:
			require.Failf(t, "orders are dense", "%d is at %d", it.Order, i+1)
		}
	}
}

func checkReplay(t *testing.T, h []version) {
	t.Helper()
	for i := 1; i < len(h); i++ {
		forward := Replay(h[i-1].list.Records(), h[i].delta, h[i].list.Gaps)
		same(t, h[i].list.Records(), forward, "version %d forward", h[i].list.Version)
		back := Replay(h[i].list.Records(), h[i].delta.Back(), h[i-1].list.Gaps)
		same(t, h[i-1].list.Records(), back, "version %d backward", h[i].list.Version)
	}
}

func TestEveryHistoryReplays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		checkReplay(t, history(t, rand.New(rand.NewPCG(seed, 1)), 40))
	}
}

// script makes choices of bytes: one that is changed changes one choice, so that
// a fuzzer can build on what it has found.
type script struct {
	text []byte
	then rand.Source // makes the choices behind the end
}

// Uint64 implements rand.Source. Some choices are made of the upper bits and some
// of the lower: the byte is in all of them.
func (s *script) Uint64() uint64 {
	if len(s.text) == 0 {
		return s.then.Uint64()
	}
	const everywhere = 0x0101010101010101
	b := uint64(s.text[0])
	s.text = s.text[1:]
	return b * everywhere
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("one list, saved and cleaned again and again"))
	f.Add([]byte{255, 250, 5, 128, 250, 90, 255, 250, 17, 64, 0, 0, 130, 90, 200, 30, 80, 20, 0, 120})
	f.Fuzz(func(t *testing.T, text []byte) {
		const most = 64 // choices; behind them come those of a few more steps
		s := &script{text: text[:min(len(text), most)], then: rand.NewPCG(uint64(len(text)), 2)}
		checkReplay(t, history(t, rand.New(s), 4+len(s.text)/4))
	})
}

func TestTagsNameUserDomainAndTime(t *testing.T) {
	t.Parallel()
	l := listOf("a")
	tags := map[string]bool{l.ETag(): true}
	for _, change := range []func(*List){
		func(l *List) { l.UserID = "bob" },
		func(l *List) { l.Domain = "cards" },
		func(l *List) { l.ID++ },
		func(l *List) { l.Version++ },
		func(l *List) { l.UpdateTime = l.UpdateTime.Add(time.Microsecond) },
		func(l *List) { l.Version = 0 },
	} {
		other := l
		change(&other)
		require.False(t, tags[other.ETag()])
		require.Len(t, other.ETag(), 16)
		tags[other.ETag()] = true
	}
	it := l.Items[0]
	moved := it
	moved.Order++
	require.NotEqual(t, it.ETag(), moved.ETag(), "an item's tag covers its order")
}

// TestAListHoldsNoRoomOfItsRequests: what was sent with a million blanks is kept
// without the room for them.
func TestAListHoldsNoRoomOfItsRequests(t *testing.T) {
	t.Parallel()
	wide := json.RawMessage(`{"n":1` + strings.Repeat(" ", 1_000_000) + `}`)
	attributes, why := checkAttributes(wide)
	require.Empty(t, why)
	wanted := []Wanted{{EntityType: "account", EntityID: "a", Attributes: attributes}}

	added := Diff(List{}, wanted, stamp(1))
	require.LessOrEqual(t, cap(added.Next.Items[0].Attributes), 64)
	changed := Diff(listOf("a"), wanted, stamp(1))
	require.Equal(t, `{"n": 1}`, string(changed.Next.Items[0].Attributes))
	require.LessOrEqual(t, cap(changed.Next.Items[0].Attributes), 64)
}
