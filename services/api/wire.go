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

// listJSON is a list, or a page of one; the tag, the version and the total are
// always those of the whole list.
type listJSON struct {
	preferences.List

	page preferences.Page
	tag  string
}

func (l listJSON) appendJSON(b []byte) []byte { return append(l.appendMembers(b), '}') }

// appendMembers leaves the object open.
func (l listJSON) appendMembers(b []byte) []byte {
	b = append(b, `{"preferences":[`...)
	for i, it := range l.page.Items {
		if i > 0 {
			b = append(b, ',')
		}
		b = preferenceJSON{it, l.Domain, it.ETag()}.appendJSON(b)
	}
	b = append(b, `],"nextPageToken":`...)
	if l.page.NextToken == "" {
		b = append(b, `null`...) // the last page
	} else {
		b = appendString(b, l.page.NextToken)
	}
	b = appendNumber(b, `,"totalSize":`, int64(len(l.Items)))
	b = appendMember(b, `,"etag":`, l.tag)
	return appendNumber(b, `,"version":`, l.Version)
}

// replacedJSON is the list after a save, and what the save changed.
type replacedJSON struct {
	preferences.Result

	tag string
}

func (r replacedJSON) appendJSON(b []byte) []byte {
	b = listJSON{r.List, preferences.Page{Items: r.List.Items}, r.tag}.appendMembers(b)
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
