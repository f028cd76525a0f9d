package api

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// Names of query parameters; the route table says which route has which.
const (
	paramDomain     = "domain"
	paramSortBy     = "sortBy"
	paramSortOrder  = "sortOrder"
	paramPageSize   = "pageSize"
	paramPageToken  = "pageToken"
	paramUserID     = middleware.ParamUserID
	paramFilter     = "filter"
	paramFields     = "fields"
	paramMinVersion = "minVersion"
	paramSyncToken  = "syncToken"
	paramStartTime  = "startTime"
	paramEndTime    = "endTime"
	paramActor      = "actor"
	paramForce      = "force"
	paramKind       = "kind"
	paramState      = "state"
	paramUndo       = "undo"
	paramDryRun     = "dryRun"

	paramValidateOnly = "validateOnly"
)

// Values of sortOrder.
const (
	ascending  = "asc"
	descending = "desc"
)

// listQuery is what a read of a list asks for.
type listQuery struct {
	userID string // whose list
	domain string
	page   preferences.PageQuery
	fields fields

	least     int64 // a version that the caller knows
	sync      bool  // only what has changed
	syncToken string
}

// readListQuery checks every parameter and reports all mistakes at once. The
// list is the caller's, unless an administrator names another user.
func readListQuery(c echo.Context) (listQuery, error) {
	q := middleware.Of(c).Query
	out := listQuery{domain: q.Get(paramDomain), page: preferences.PageQuery{Token: q.Get(paramPageToken)}}
	var wrong []fault.Violation
	out.userID, wrong = readUserID(q, userOf(c))
	wrong = append(wrong, out.readView(q)...)
	wrong = append(wrong, out.readSyncToken(q)...)
	wrong = append(wrong, out.readMinVersion(q, c.Request().Header[headerMinVersion])...)
	if len(wrong) > 0 {
		return listQuery{}, invalid(wrong...)
	}
	return out, nil
}

// headerMinVersion says the same as minVersion, for clients that set it for all
// their requests.
const headerMinVersion = "Prefs-Min-Version"

// readMinVersion takes the newer of the two versions that a read may name, and
// returns what is wrong.
func (l *listQuery) readMinVersion(q url.Values, header []string) (wrong []fault.Violation) {
	l.least = preferences.AnyVersion
	read := func(name, text string) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			wrong = append(wrong, fault.Violation{Field: name, Description: "must be a version: a whole number from 0"})
		}
		l.least = max(l.least, n)
	}
	if q.Has(paramMinVersion) {
		read(paramMinVersion, q.Get(paramMinVersion))
	}
	for _, text := range header {
		read(headerMinVersion, text)
	}
	return wrong
}

// readUserID returns whose lists a read is about.
func readUserID(q url.Values, caller string) (string, []fault.Violation) {
	if !q.Has(paramUserID) {
		return caller, nil
	}
	id := q.Get(paramUserID)
	if !preferences.IsUserID(id) {
		return "", []fault.Violation{{Field: paramUserID, Description: fmt.Sprintf("must be 1 to %d bytes of text without control characters", preferences.MaxUserID)}}
	}
	return id, nil
}

func readPageSize(q url.Values, most int) (int, []fault.Violation) {
	if !q.Has(paramPageSize) {
		return 0, nil
	}
	size, err := strconv.ParseInt(q.Get(paramPageSize), 10, 32)
	if err != nil || size < 0 {
		return 0, []fault.Violation{{
			Field: paramPageSize, Description: fmt.Sprintf("must be a whole number from 0; 0 means the default, more than %d means %d", most, most),
		}}
	}
	return int(size), nil
}

// readView reads how the list is to be shown, and returns what is wrong.
func (l *listQuery) readView(q url.Values) (wrong []fault.Violation) {
	add := func(field, description string) {
		wrong = append(wrong, fault.Violation{Field: field, Description: description})
	}
	if q.Has(paramSortBy) {
		l.page.SortBy = preferences.SortBy(q.Get(paramSortBy))
		if !slices.Contains(preferences.Sorts(), l.page.SortBy) {
			add(paramSortBy, "must be one of: "+sorts())
		}
	}
	l.page.Descending = q.Get(paramSortOrder) == descending
	if q.Has(paramSortOrder) && !l.page.Descending && q.Get(paramSortOrder) != ascending {
		add(paramSortOrder, "must be "+ascending+" or "+descending)
	}
	var size []fault.Violation
	l.page.Size, size = readPageSize(q, preferences.MaxItems)
	wrong = append(wrong, size...)
	if q.Has(paramFilter) {
		var err error
		if l.page.Filter, err = preferences.ParseFilter(q.Get(paramFilter)); err != nil {
			wrong = append(wrong, violationsOf(err)...)
		}
	}
	if q.Has(paramFields) {
		var unknown string
		if l.fields, unknown = readFields(q.Get(paramFields)); unknown != "" {
			add(paramFields, unknown)
		}
		l.page.Shape = q.Get(paramFields)
	}
	return wrong
}

// violationsOf returns what a fault says is wrong with a request.
func violationsOf(err error) []fault.Violation {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Violations
	}
	return nil
}

func sorts() string {
	names := make([]string, 0, len(preferences.Sorts()))
	for _, s := range preferences.Sorts() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// readFlag reads a parameter that is true or false; by default it is false.
func readFlag(q url.Values, name string) (bool, error) {
	set := q.Get(name) == "true"
	if q.Has(name) && !set && q.Get(name) != "false" {
		return false, invalid(fault.Violation{Field: name, Description: "must be true or false"})
	}
	return set, nil
}
