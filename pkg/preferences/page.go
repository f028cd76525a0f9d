package preferences

import (
	"bytes"
	"cmp"
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
// is the span of the pages so far.
type positionJSON struct {
	Key  string    `json:"k"`
	ID   uuid.UUID `json:"i"`
	Seen []byte    `json:"s"`
}

// Whole is the list as one page.
func (l List) Whole() Page {
	return Page{Items: l.Items, Total: len(l.Items), SyncToken: l.SyncToken()}
}

// Page returns the part of the list that the query asks for. A token that
// belongs to another user, domain, sort, filter or shape, or that was altered,
// is Invalid.
func (l List) Page(q PageQuery) (Page, error) {
	if q.SortBy == "" {
		q.SortBy = SortByOrder
	}
	if q.Size <= 0 || q.Size > MaxItems {
		q.Size = MaxItems
	}
	items := slices.Clone(l.Items)
	if !q.Filter.Empty() {
		items = slices.DeleteFunc(items, func(it Item) bool { return !q.Filter.Matches(it) })
	}
	total := len(items)
	if q.SortBy != SortByOrder || q.Descending { // a list is by order as it is
		slices.SortFunc(items, q.compare)
	}
	seen := spanOf(l)
	if q.Token != "" {
		last, before, err := l.openToken(q)
		if err != nil {
			return Page{}, err
		}
		seen = before.widened(l)
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

func (q PageQuery) compare(a, b Item) int {
	return q.directed(cmp.Or(cmp.Compare(q.key(a), q.key(b)), bytes.Compare(a.ID[:], b.ID[:])))
}

func (q PageQuery) directed(c int) int {
	if q.Descending {
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
		// The order of an item changes when one before it goes; its position does not.
		return fmt.Sprintf("%010d", it.Position)
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
		return p, seen, fault.New(fault.Invalid, fault.ReasonInvalidPageToken,
			"The page token does not belong to this list, sort order, filter and fields. Start again without pageToken.").
			Violating(fault.Violation{
				Field: "pageToken", Description: "must be the nextPageToken of a page with the same domain, sortBy, sortOrder, filter and fields",
			})
	}
	return p, seen, nil
}

// bound is what all pages have in common, and so what their tokens are good for.
func (l List) bound(q PageQuery) []byte {
	return fmt.Appendf(nil, "t3|%q|%q|%s|%t|%q|%q", l.UserID, l.Domain, q.SortBy, q.Descending, q.Filter.text, q.Shape)
}
