package api

import (
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Answers with items write themselves: encoding/json takes longer over a list
// than the database takes to read it.

// preferenceJSON is one item as it goes out.
type preferenceJSON struct {
	preferences.Item

	domain, tag string
}

func (p preferenceJSON) appendJSON(b []byte) []byte {
	id := p.ID.String()
	b = appendMember(b, `{"id":`, id)
	b = append(append(append(b, `,"name":"preferences/`...), id...), '"')
	b = appendMember(b, `,"domain":`, p.domain)
	b = appendMember(b, `,"entityId":`, p.EntityID)
	b = appendMember(b, `,"entityType":`, p.EntityType)
	b = appendNumber(b, `,"order":`, int64(p.Order))
	b = appendCompact(append(b, `,"attributes":`...), p.Attributes)
	b = appendTime(b, `,"createTime":`, p.CreateTime)
	b = appendTime(b, `,"updateTime":`, p.UpdateTime)
	b = appendNumber(b, `,"version":`, int64(p.Version))
	b = appendMember(b, `,"etag":`, p.tag)
	return append(b, '}')
}

// listJSON is a list, or a page of one; the tag and the version are always those
// of the whole list.
type listJSON struct {
	preferences.List

	page   preferences.Page
	tag    string
	fields fields // the zero value: all
}

func (l listJSON) appendJSON(b []byte) []byte { return append(l.appendMembers(b), '}') }

// appendMembers leaves the object open.
func (l listJSON) appendMembers(b []byte) []byte {
	b = append(b, '{')
	for i, m := range listMembers {
		if !l.fields.listHas(i) || i == syncTokenMember && l.page.SyncToken == "" {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = m.append(l, append(b, m.name...))
	}
	return b
}

// syncTokenMember is the index of the one member that is not always there.
const syncTokenMember = 5

// listMembers are the members of a list in their order, each name with its
// punctuation.
var listMembers = []struct {
	name   string
	append func(listJSON, []byte) []byte
}{
	{`"preferences":`, listJSON.appendItems},
	{`"nextPageToken":`, listJSON.appendNextToken},
	{`"totalSize":`, func(l listJSON, b []byte) []byte { return appendNumber(b, "", int64(l.page.Total)) }},
	{`"etag":`, func(l listJSON, b []byte) []byte { return appendString(b, l.tag) }},
	{`"version":`, func(l listJSON, b []byte) []byte { return appendNumber(b, "", l.Version) }},
	{`"syncToken":`, func(l listJSON, b []byte) []byte { return appendString(b, l.page.SyncToken) }},
}

func (l listJSON) appendItems(b []byte) []byte {
	b = append(b, '[')
	for i, it := range l.page.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if l.fields.wholeItems() {
			b = preferenceJSON{it, l.Domain, it.ETag()}.appendJSON(b)
		} else {
			b = l.appendParts(b, it)
		}
	}
	return append(b, ']')
}

// appendParts appends those members of an item that were asked for.
func (l listJSON) appendParts(b []byte, it preferences.Item) []byte {
	b = append(b, '{')
	for i, m := range itemMembers {
		if !l.fields.itemHas(i) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = m.append(it, l.Domain, append(b, m.name...))
	}
	return append(b, '}')
}

// itemMembers are the members of an item in their order, for answers that show
// some of them; preferenceJSON writes all.
var itemMembers = []struct {
	name   string
	append func(it preferences.Item, domain string, b []byte) []byte
}{
	{`"id":`, func(it preferences.Item, _ string, b []byte) []byte { return appendString(b, it.ID.String()) }},
	{`"name":`, func(it preferences.Item, _ string, b []byte) []byte { return appendString(b, resourceName(it.ID)) }},
	{`"domain":`, func(_ preferences.Item, domain string, b []byte) []byte { return appendString(b, domain) }},
	{`"entityId":`, func(it preferences.Item, _ string, b []byte) []byte { return appendString(b, it.EntityID) }},
	{`"entityType":`, func(it preferences.Item, _ string, b []byte) []byte { return appendString(b, it.EntityType) }},
	{`"order":`, func(it preferences.Item, _ string, b []byte) []byte { return appendNumber(b, "", int64(it.Order)) }},
	{`"attributes":`, func(it preferences.Item, _ string, b []byte) []byte { return appendCompact(b, it.Attributes) }},
	{`"createTime":`, func(it preferences.Item, _ string, b []byte) []byte { return appendTime(b, "", it.CreateTime) }},
	{`"updateTime":`, func(it preferences.Item, _ string, b []byte) []byte { return appendTime(b, "", it.UpdateTime) }},
	{`"version":`, func(it preferences.Item, _ string, b []byte) []byte { return appendNumber(b, "", int64(it.Version)) }},
	{`"etag":`, func(it preferences.Item, _ string, b []byte) []byte { return appendString(b, it.ETag()) }},
}

func (l listJSON) appendNextToken(b []byte) []byte {
	if l.page.NextToken == "" {
		return append(b, `null`...) // the last page
	}
	return appendString(b, l.page.NextToken)
}

// replacedJSON is the list after a save, and what the save changed.
type replacedJSON struct {
	preferences.Result

	tag string
}

func (r replacedJSON) appendJSON(b []byte) []byte {
	b = listJSON{List: r.List, page: r.List.Whole(), tag: r.tag}.appendMembers(b)
	b = appendNumber(b, `,"summary":{"created":`, int64(r.Summary.Created))
	b = appendNumber(b, `,"updated":`, int64(r.Summary.Updated))
	b = appendNumber(b, `,"deleted":`, int64(r.Summary.Deleted))
	b = appendNumber(b, `,"total":`, int64(r.Summary.Total))
	b = append(b, `},"skipped":[`...)
	for i, e := range r.Skipped {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(b, `{"entityId":`, e.ID)
		b = appendMember(b, `,"entityType":`, e.Type)
		b = append(appendMember(b, `,"reason":`, string(fault.ReasonEntityDeleted)), '}')
	}
	return append(b, `]}`...)
}

// cleanedJSON is what a clean did.
type cleanedJSON struct {
	Deleted       int64    `json:"deleted"`
	AffectedUsers []string `json:"affectedUsers"`
	Reordered     bool     `json:"reordered"`
}

// errorJSON is the envelope of every error.
type errorJSON struct {
	Error problemJSON `json:"error"`
}

// rfc9457JSON is an error for callers who read problem details: the same object,
// and before it what RFC 9457 asks for.
type rfc9457JSON struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	errorJSON
}

type problemJSON struct {
	Code    fault.Reason   `json:"code"`    // for programs
	Message string         `json:"message"` // for people
	Status  string         `json:"status"`  // name of a google.rpc.Code
	Details map[string]any `json:"details"`
}

type violationJSON struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}
