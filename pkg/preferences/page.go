package preferences

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// SortBy names what a page is sorted by.
type SortBy string

// What pages can be sorted by.
const (
	SortByOrder      SortBy = "order"
	SortByCreateTime SortBy = "createTime"
	SortByUpdateTime SortBy = "updateTime"
	SortByEntityID   SortBy = "entityId"
)

// Sorts lists every SortBy.
func Sorts() []SortBy {
	return []SortBy{SortByOrder, SortByCreateTime, SortByUpdateTime, SortByEntityID}
}

// PageQuery asks for a part of a list (AIP-158).
type PageQuery struct {
	SortBy     SortBy // default: order
	Descending bool
	Filter     Filter
	Shape      string // how items are shown; pages have it in common
	Size       int    // 0: the default; more than MaxItems: MaxItems
	Token      string // of the page before; empty: the first page

	places map[uuid.UUID]int // where pages by order have the items of the first one's version
}

// Page is a part of a list.
type Page struct {
	Items     []Item
	Total     int    // items on all pages
	NextToken string // empty: this is the last page
	SyncToken string // for reads of what changes after these pages; on the last one, unless items were left out
}

// positionJSON is where a page ended: the sort key and the id of its last
// item. Items that were not written since are neither skipped nor repeated. Seen
// is the span of the pages so far; it begins with the first one's version.
type positionJSON struct {
	Key  string    `json:"k"`
	ID   uuid.UUID `json:"i"`
	Seen []byte    `json:"s"`
}

// Whole is the list as one page.
func (l List) Whole() Page {
	return Page{Items: l.Items, Total: len(l.Items), SyncToken: l.SyncToken()}
}

// Page returns a list and the part of it that the query asks for. A token that
// belongs to another user, domain, sort, filter or shape, or that was altered,
// is Invalid.
//
// Pages by order go by that of the first page's version: others may move items
// from page to page, and each comes once all the same; what was added since comes
// last. A list that has moved on is read again for that, with what has changed.
func (s *Service) Page(ctx context.Context, l List, q PageQuery) (List, Page, error) {
	page, err := l.Page(q)
	moved, is := errors.AsType[*movedOnError](err)
	if !is {
		return l, page, err
	}
	h := HistorySince{Version: moved.seen.from.version, Limit: MaxSyncVersions + 1}
	l, changes, more, err := s.store.Since(ctx, l.UserID, l.Domain, h)
	if err != nil {
		return l, Page{}, err
	}
	if more {
		changes = nil
	}
	page, err = l.later(q, moved.seen, changes)
	return l, page, err
}

// movedOnError says that a list is not any more as its first page was read.
type movedOnError struct{ seen span }

func (*movedOnError) Error() string { return "the list has moved on since its first page" }

// later returns a page of a list that has moved on, by what the history tells
// since the first one.
func (l List) later(q PageQuery, seen span, changes []Change) (Page, error) {
	if l.ID != seen.list || l.Version < seen.to.version || !seen.reached(l, changes) {
		return Page{}, badToken("The list has changed too much since its first page was read. Start again without pageToken.")
	}
	states, err := seen.states(l, changes)
	if err != nil {
		return Page{}, err
	}
	return l.page(q, states[len(states)-1])
}

// Page returns the part of the list that the query asks for, if the list is
// still in the version of the first page or is not read by order.
func (l List) Page(q PageQuery) (Page, error) { return l.page(q, nil) }

// page is Page, given the list as it was when the first page was read; nil: it is
// the same.
func (l List) page(q PageQuery, first []Record) (Page, error) {
	q = q.completed()
	items := slices.Clone(l.Items)
	if !q.Filter.Empty() {
		items = slices.DeleteFunc(items, func(it Item) bool { return !q.Filter.Matches(it) })
	}
	total, seen := len(items), spanOf(l)
	var last positionJSON
	if q.Token != "" {
		var err error
		if last, seen, err = l.openToken(q); err != nil {
			return Page{}, err
		}
		if q.SortBy == SortByOrder && first == nil && seen.begun() != spanOf(l) {
			return Page{}, &movedOnError{seen}
		}
		seen = seen.widened(l)
	}
	q.arrange(l, items, first)
	if q.Token != "" {
		at, _ := slices.BinarySearchFunc(items, last, func(it Item, p positionJSON) int {
			// The last item itself was shown: what is equal counts as smaller.
			return cmp.Or(q.directed(cmp.Or(cmp.Compare(q.key(it), p.Key), bytes.Compare(it.ID[:], p.ID[:]))), -1)
		})
		items = items[at:]
	}
	if len(items) <= q.Size {
		page := Page{Items: items, Total: total}
		if q.Filter.Empty() {
			page.SyncToken = seen.token(l.UserID, l.Domain)
		}
		return page, nil
	}
	items = items[:q.Size]
	return Page{Items: items, Total: total, NextToken: l.token(q, items[q.Size-1], seen)}, nil
}

// completed is the query with its defaults.
func (q PageQuery) completed() PageQuery {
	if q.SortBy == "" {
		q.SortBy = SortByOrder
	}
	if q.Size <= 0 || q.Size > MaxItems {
		q.Size = MaxItems
	}
	return q
}

// arrange puts items of a list, which are by its order, in that of the pages.
func (q *PageQuery) arrange(l List, items []Item, first []Record) {
	switch {
	case q.SortBy != SortByOrder:
		slices.SortFunc(items, q.compare)
	case first != nil:
		q.places = q.placesOf(len(first), func(i int) uuid.UUID { return first[i].ID })
		slices.SortFunc(items, q.compare)
	case q.Token != "" || len(items) > q.Size || q.Descending: // else it is the list as it is
		q.places = q.placesOf(len(l.Items), func(i int) uuid.UUID { return l.Items[i].ID })
		if q.Descending {
			slices.Reverse(items)
		}
	}
}

func (q *PageQuery) placesOf(n int, id func(i int) uuid.UUID) map[uuid.UUID]int {
	out := make(map[uuid.UUID]int, n)
	for i := range n {
		out[id(i)] = i
		if q.Descending {
			out[id(i)] = n - i
		}
	}
	return out
}

func (q PageQuery) compare(a, b Item) int {
	return q.directed(cmp.Or(cmp.Compare(q.key(a), q.key(b)), bytes.Compare(a.ID[:], b.ID[:])))
}

// directed turns a comparison round where the query goes down; places have their
// direction.
func (q PageQuery) directed(c int) int {
	if q.Descending && q.SortBy != SortByOrder {
		return -c
	}
	return c
}

// keyTime spells times so that they sort as text.
const keyTime = "2006-01-02T15:04:05.000000"

// key spells what the page is sorted by so that it sorts as text.
func (q PageQuery) key(it Item) string {
	switch q.SortBy {
	case SortByCreateTime:
		return it.CreateTime.Format(keyTime)
	case SortByUpdateTime:
		return it.UpdateTime.Format(keyTime)
	case SortByEntityID:
		return it.EntityID
	default:
		place, was := q.places[it.ID]
		if !was { // added since: behind all others, in the order of its coming
			return "new " + it.CreateTime.Format(keyTime)
		}
		return fmt.Sprintf("%010d", place)
	}
}

func (l List) token(q PageQuery, last Item, seen span) string {
	return sealJSON(l.bound(q), positionJSON{q.key(last), last.ID, seen.append(nil)})
}

func (l List) openToken(q PageQuery) (positionJSON, span, error) {
	var p positionJSON
	ok := openJSON(l.bound(q), q.Token, &p)
	seen, readable := readSpan(p.Seen)
	if !ok || !readable {
		return p, seen, badToken("The page token does not belong to this list, sort order, filter and fields. Start again without pageToken.")
	}
	return p, seen, nil
}

func badToken(why string) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidPageToken, "%s", why).Violating(fault.Violation{
		Field: "pageToken", Description: "must be the nextPageToken of a page with the same domain, sortBy, sortOrder, filter and fields",
	})
}

// bound is what all pages have in common, and so what their tokens are good for.
func (l List) bound(q PageQuery) []byte {
	return fmt.Appendf(nil, "t4|%q|%q|%s|%t|%q|%q", l.UserID, l.Domain, q.SortBy, q.Descending, q.Filter.text, q.Shape)
}
