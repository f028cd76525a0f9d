package api

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// Names of query parameters; the route table says which route has which.
const (
	paramDomain    = "domain"
	paramSortBy    = "sortBy"
	paramSortOrder = "sortOrder"
	paramPageSize  = "pageSize"
	paramPageToken = "pageToken"
	paramUserID    = middleware.ParamUserID
	paramForce     = "force"
)

// listQuery is what a read of a list asks for.
type listQuery struct {
	userID string // whose list
	domain string
	page   preferences.PageQuery
}

// readListQuery checks every parameter and reports all mistakes at once. The
// list is the caller's, unless an administrator names another user.
func readListQuery(q url.Values, caller string) (listQuery, error) {
	out := listQuery{userID: caller, domain: q.Get(paramDomain), page: preferences.PageQuery{Token: q.Get(paramPageToken)}}
	var wrong []fault.Violation
	add := func(field, description string) {
		wrong = append(wrong, fault.Violation{Field: field, Description: description})
	}
	if q.Has(paramUserID) {
		out.userID = q.Get(paramUserID)
		if out.userID == "" || len(out.userID) > preferences.MaxUserID {
			add(paramUserID, fmt.Sprintf("must be 1 to %d bytes long", preferences.MaxUserID))
		}
	}
	if text := q.Get(paramSortBy); text != "" {
		out.page.SortBy = preferences.SortBy(text)
		if !isSort(out.page.SortBy) {
			add(paramSortBy, "must be one of: "+sorts())
		}
	}
	switch q.Get(paramSortOrder) {
	case "", "asc":
	case "desc":
		out.page.Descending = true
	default:
		add(paramSortOrder, "must be asc or desc")
	}
	if text := q.Get(paramPageSize); text != "" {
		size, err := strconv.ParseInt(text, 10, 32)
		if err != nil || size < 0 {
			add(paramPageSize, fmt.Sprintf("must be a whole number from 0; 0 means the default, more than %d means %d", preferences.MaxItems, preferences.MaxItems))
		}
		out.page.Size = int(size)
	}
	if len(wrong) > 0 {
		return listQuery{}, invalid(wrong...)
	}
	return out, nil
}

func isSort(s preferences.SortBy) bool {
	for _, known := range preferences.Sorts() {
		if s == known {
			return true
		}
	}
	return false
}

func sorts() string {
	names := make([]string, 0, len(preferences.Sorts()))
	for _, s := range preferences.Sorts() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// readForce says whether a write overrides its conditions.
func readForce(q url.Values) (bool, error) {
	switch q.Get(paramForce) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid(fault.Violation{Field: paramForce, Description: "must be true or false"})
	}
}
