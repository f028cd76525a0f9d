package api

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// preferenceJSON is one item as it goes out.
type preferenceJSON struct {
	ID         uuid.UUID       `json:"id"`
	Name       string          `json:"name"`
	Domain     string          `json:"domain"`
	EntityID   string          `json:"entityId"`
	EntityType string          `json:"entityType"`
	Order      int             `json:"order"`
	Attributes json.RawMessage `json:"attributes"`
	CreateTime time.Time       `json:"createTime"`
	UpdateTime time.Time       `json:"updateTime"`
	Version    int32           `json:"version"`
	Etag       string          `json:"etag"`
}

func preferenceOf(it preferences.Item, domain string) preferenceJSON {
	return preferenceJSON{
		ID: it.ID, Name: "preferences/" + it.ID.String(), Domain: domain,
		EntityID: it.EntityID, EntityType: it.EntityType, Order: it.Order, Attributes: it.Attributes,
		CreateTime: it.CreateTime, UpdateTime: it.UpdateTime, Version: it.Version, Etag: it.ETag(),
	}
}

// listJSON is a list, or a page of one; the tag and the version are always
// those of the whole list.
type listJSON struct {
	Preferences   []preferenceJSON `json:"preferences"`
	NextPageToken *string          `json:"nextPageToken"` // null on the last page
	TotalSize     int              `json:"totalSize"`
	Etag          string           `json:"etag"`
	Version       int64            `json:"version"`
}

func listOf(l preferences.List, etag string, p preferences.Page) listJSON {
	out := listJSON{Preferences: make([]preferenceJSON, len(p.Items)), TotalSize: len(l.Items), Etag: etag, Version: l.Version}
	for i, it := range p.Items {
		out.Preferences[i] = preferenceOf(it, l.Domain)
	}
	if p.NextToken != "" {
		out.NextPageToken = &p.NextToken
	}
	return out
}

// replacedJSON is the list after a save, and what the save changed.
type replacedJSON struct {
	listJSON
	Summary summaryJSON   `json:"summary"`
	Skipped []skippedJSON `json:"skipped"`
}

type summaryJSON struct {
	Created int `json:"created"`
	Updated int `json:"updated"`
	Deleted int `json:"deleted"`
	Total   int `json:"total"`
}

// skippedJSON names an entity that was asked for and left out.
type skippedJSON struct {
	EntityID   string       `json:"entityId"`
	EntityType string       `json:"entityType"`
	Reason     fault.Reason `json:"reason"`
}

func replacedOf(res preferences.Result, etag string) replacedJSON {
	out := replacedJSON{
		listJSON: listOf(res.List, etag, preferences.Page{Items: res.List.Items}),
		Summary:  summaryJSON(res.Summary),
		Skipped:  make([]skippedJSON, len(res.Skipped)),
	}
	for i, e := range res.Skipped {
		out.Skipped[i] = skippedJSON{EntityID: e.ID, EntityType: e.Type, Reason: fault.ReasonEntityDeleted}
	}
	return out
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
