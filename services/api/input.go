package api

import (
	"encoding/json"
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/ijson"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// decode reads the body of a request, strictly. Of one that is not as it should
// be, in holds what could be read.
func decode[T any](c echo.Context) (in T, err error) {
	err = ijson.Decode(middleware.Of(c).Body, &in,
		ijson.MaxItems(preferences.MaxItems), ijson.MaxDepth(preferences.MaxAttributesDepth))
	return in, err
}

// itemInput is one item as it comes in. A client may send back an item that it
// got: what it cannot set is left out of account.
type itemInput struct {
	Domain     *string         `json:"domain"`
	EntityID   string          `json:"entityId"`
	EntityType string          `json:"entityType"`
	Order      *int            `json:"order"`
	Attributes json.RawMessage `json:"attributes"`
}

// OutputOnly lists what the server alone sets.
func (itemInput) OutputOnly() []string {
	return []string{"id", "name", "createTime", "updateTime", "version", "etag"}
}

func (in itemInput) input() preferences.Input {
	return preferences.Input{EntityID: in.EntityID, EntityType: in.EntityType, Order: in.Order, Attributes: in.Attributes}
}

// domain is that of the list to add the item to.
func (in itemInput) domain() string {
	if in.Domain == nil {
		return ""
	}
	return *in.Domain
}

// replaceInput is the body of a save.
type replaceInput struct {
	Domain      string      `json:"domain"`
	Preferences []itemInput `json:"preferences"`
}

// OutputOnly lets a client send back the list that it got.
func (replaceInput) OutputOnly() []string {
	return []string{"nextPageToken", "totalSize", "etag", "version", "syncToken", "summary", "skipped"}
}

// inputs returns the wanted items, as far as they can be read. No list is not an empty list: that would
// delete everything because of a slip.
func (in replaceInput) inputs() ([]preferences.Input, error) {
	if in.Preferences == nil {
		return nil, invalid(fault.Violation{Field: "preferences", Description: "is required; [] removes all items"})
	}
	var wrong []fault.Violation
	out := make([]preferences.Input, len(in.Preferences))
	for i, it := range in.Preferences {
		out[i] = it.input()
		if it.Domain != nil && *it.Domain != in.Domain {
			wrong = append(wrong, fault.Violation{
				Field: fmt.Sprintf("preferences[%d].domain", i), Description: "must be that of the list, or left out",
			})
		}
	}
	if len(wrong) > 0 {
		return out, invalid(wrong...)
	}
	return out, nil
}

// patchInput is the body that changes one item. The members that say which item
// it is may be sent, but not changed.
type patchInput struct {
	Attributes json.RawMessage `json:"attributes"`
	Order      *int            `json:"order"`

	ID         *string `json:"id"`
	Name       *string `json:"name"`
	UserID     *string `json:"userId"`
	Domain     *string `json:"domain"`
	EntityID   *string `json:"entityId"`
	EntityType *string `json:"entityType"`
}

// OutputOnly lists what the server alone sets.
func (patchInput) OutputOnly() []string {
	return []string{"createTime", "updateTime", "version", "etag"}
}

func (in patchInput) patch(userID string) preferences.Patch {
	p := preferences.Patch{Attributes: in.Attributes, Order: in.Order}
	if in.namesItem() {
		p.Identifies = func(it preferences.Item, domain string) error { return in.identifies(userID, it, domain) }
	}
	return p
}

// namesItem says whether the body speaks of what cannot change.
func (in patchInput) namesItem() bool {
	return in.ID != nil || in.Name != nil || in.UserID != nil || in.Domain != nil || in.EntityID != nil || in.EntityType != nil
}

// identifies refuses a body that means another item than the stored one.
func (in patchInput) identifies(userID string, it preferences.Item, domain string) error {
	var wrong []fault.Violation
	for _, f := range []struct {
		name  string
		given *string
		is    string
	}{
		{"id", in.ID, it.ID.String()},
		{"name", in.Name, resourceName(it.ID)},
		{"userId", in.UserID, userID},
		{"domain", in.Domain, domain},
		{"entityId", in.EntityID, it.EntityID},
		{"entityType", in.EntityType, it.EntityType},
	} {
		if f.given != nil && *f.given != f.is {
			wrong = append(wrong, fault.Violation{Field: f.name, Description: "cannot be changed; leave it out"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, fault.ReasonImmutableField, "The request changes what cannot be changed.").Violating(wrong...)
}

// batchInput is the body that changes several items of a list.
type batchInput struct {
	Domain  string            `json:"domain"`
	Updates []itemUpdateInput `json:"updates"`
}

// itemUpdateInput is one change of a batch.
type itemUpdateInput struct {
	ID         string          `json:"id"`
	Attributes json.RawMessage `json:"attributes"`
	Order      *int            `json:"order"`
	ETag       string          `json:"etag"`
}

// OutputOnly lists what the server alone sets.
func (itemUpdateInput) OutputOnly() []string {
	return []string{"name", "createTime", "updateTime", "version"}
}

func (in batchInput) patches() []preferences.ItemPatch {
	out := make([]preferences.ItemPatch, len(in.Updates))
	for i, u := range in.Updates {
		out[i] = preferences.ItemPatch(u)
	}
	return out
}

// restoreInput is the body that takes a list back to an earlier version.
type restoreInput struct {
	Domain  string `json:"domain"`
	Version int64  `json:"version"`
}

// cleanInput is the body that takes an entity out of every list.
type cleanInput struct {
	EntityID   string `json:"entityId"`
	EntityType string `json:"entityType"`
	Reorder    *bool  `json:"reorder"`
}

// entity returns what is to be cleaned. A type that no domain has is another
// mistake than none at all.
func (in cleanInput) entity() (preferences.Entity, error) {
	if in.EntityType == "" {
		return preferences.Entity{ID: in.EntityID}, invalid(fault.Violation{Field: "entityType", Description: "is required"})
	}
	return preferences.Entity{Type: in.EntityType, ID: in.EntityID}, nil
}

func (in cleanInput) reorder() bool { return in.Reorder == nil || *in.Reorder }

// refusal is what is wrong with a request: its form first, then what breaks the
// rules of its content. What is no JSON has no content.
func refusal(form error, rules ...error) error {
	if fault.ReasonOf(form) == ijson.ReasonInvalidJSON {
		return form
	}
	return fault.Join(append([]error{form}, rules...)...)
}

func invalid(wrong ...fault.Violation) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidField, "The request is not valid; details.fieldViolations says where.").Violating(wrong...)
}
