package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// preference and list are answers as a client reads them.
type preference struct {
	ID, Name, Domain, EntityID, EntityType string
	Order                                  int
	Attributes                             json.RawMessage
	CreateTime, UpdateTime                 string
	Version                                int
	ETag                                   string
}

type list struct {
	Preferences   []preference
	NextPageToken *string
	SyncToken     string
	TotalSize     int
	ETag          string
	Version       int
	Summary       *summary
	Skipped       []map[string]string
}

type summary struct{ Created, Updated, Deleted, Total int }

type problem struct {
	Error struct {
		Code, Message, Status string
		Details               struct {
			FieldViolations []struct{ Field, Description string }
			RequestID       string
			CurrentETag     string
			ProvidedETag    string
			ResourceName    string
			ID              string
			Index           *int
			LastModified    *string `json:"lastModifiedTime"`
		}
	}
}

// is expects a status.
func (a answered) is(status int) answered {
	a.t.Helper()
	require.Equal(a.t, status, a.StatusCode, "%s %s: %s", a.Request.Method, a.Request.URL.RequestURI(), a.text)
	return a
}

// fails expects an error in the envelope, and returns it. The fields that it
// must name follow the code.
func (a answered) fails(status int, code string, fields ...string) problem {
	a.t.Helper()
	a.is(status)
	require.Equal(a.t, "application/json; charset=utf-8", a.Header.Get("Content-Type"))
	require.Equal(a.t, "no-store", a.Header.Get("Cache-Control"))
	var p problem
	if a.Request.Method == http.MethodHead {
		require.Empty(a.t, a.text)
		return p
	}
	a.into(&p)
	require.Equal(a.t, code, p.Error.Code, a.text)
	require.NotEmpty(a.t, p.Error.Message)
	require.Equal(a.t, a.Header.Get("X-Request-Id"), p.Error.Details.RequestID)
	named := make([]string, 0, len(p.Error.Details.FieldViolations))
	for _, v := range p.Error.Details.FieldViolations {
		named = append(named, v.Field)
	}
	for _, f := range fields {
		require.True(a.t, slices.Contains(named, f), "%s is not named in %s", f, a.text)
	}
	return p
}

// list decodes a list and checks that header and body have the same tag.
func (a answered) list(status int) (l list) {
	a.t.Helper()
	a.is(status)
	a.into(&l)
	require.Equal(a.t, `"`+l.ETag+`"`, a.Header.Get("ETag"))
	return l
}

// item decodes an item and checks that header and body have the same tag.
func (a answered) item(status int) (p preference) {
	a.t.Helper()
	a.is(status)
	a.into(&p)
	require.Equal(a.t, `"`+p.ETag+`"`, a.Header.Get("ETag"))
	require.Equal(a.t, "preferences/"+p.ID, p.Name)
	return p
}

// accounts is the list that all tests read and write.
const accounts = "/preferences?domain=accounts"

// read returns the caller's list.
func (c caller) read() list {
	c.Helper()
	return c.send(http.MethodGet, accounts, "").list(http.StatusOK)
}

// save replaces the caller's list by plain entities.
func (c caller) save(ids ...string) list {
	c.Helper()
	return c.replace(body(ids...)).list(http.StatusOK)
}

// replace sends a whole list.
func (c caller) replace(body string, h ...string) answered {
	c.Helper()
	return c.send(http.MethodPut, "/preferences:batchReplace", body, h...)
}

// body is a save of plain entities.
func body(ids ...string) string {
	items := make([]string, len(ids))
	for i, id := range ids {
		items[i] = fmt.Sprintf(`{"entityId":%q}`, id)
	}
	return items0(items...)
}

// items0 is a save of items as they are.
func items0(items ...string) string {
	return `{"domain":"accounts","preferences":[` + strings.Join(items, ",") + `]}`
}

// shown is what a reader sees: "id:order", and attributes where there are any.
func (l list) shown() []string {
	out := make([]string, len(l.Preferences))
	for i, p := range l.Preferences {
		out[i] = fmt.Sprintf("%s:%d", p.EntityID, p.Order)
		if string(p.Attributes) != "{}" {
			out[i] += string(p.Attributes)
		}
	}
	return out
}

// find returns the item of an entity.
func (l list) find(entity string) preference {
	for _, p := range l.Preferences {
		if p.EntityID == entity {
			return p
		}
	}
	return preference{}
}

// many returns the ids e-1 to e-n.
func many(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("e-%d", i+1)
	}
	return ids
}

func jsonInto(data []byte, dst any) error { return json.Unmarshal(data, dst) }
