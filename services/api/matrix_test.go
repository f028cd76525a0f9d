package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/services/api"
)

// sample is a request that is right in all but who sends it. In target, body and
// header, ID is the id of an item of alice's, TAG its tag, NEW an entity that no
// list has, and OPN the id of an operation that nobody has begun.
type sample struct {
	target, body string
	status       int // for those who may
	header       []string
}

// samples has one for each route: a new route needs a line here.
var samples = map[string]sample{
	"GET /preferences":                    {target: accounts, status: http.StatusOK},
	"HEAD /preferences":                   {target: accounts, status: http.StatusOK},
	"POST /preferences":                   {target: "/preferences", body: `{"domain":"accounts","entityId":"NEW"}`, status: http.StatusCreated},
	"GET /preferences/:id":                {target: "/preferences/ID", status: http.StatusOK},
	"HEAD /preferences/:id":               {target: "/preferences/ID", status: http.StatusOK},
	"PATCH /preferences/:id":              {target: "/preferences/ID", body: `{"attributes":{"a":1}}`, status: http.StatusOK},
	"DELETE /preferences/:id":             {target: "/preferences/ID", status: http.StatusNoContent},
	"PUT /preferences:batchReplace":       {target: "/preferences:batchReplace", body: `{"domain":"accounts","preferences":[{"entityId":"NEW"}]}`, status: http.StatusOK},
	"POST /preferences:batchReplace":      {target: "/preferences:batchReplace", body: `{"domain":"accounts","preferences":[{"entityId":"NEW"}]}`, status: http.StatusOK},
	"PATCH /preferences:batchUpdate":      {target: batchPath, body: `{"domain":"accounts","updates":[{"id":"ID","attributes":{"a":1}}]}`, status: http.StatusOK},
	"POST /preferences:batchUpdate":       {target: batchPath, body: `{"domain":"accounts","updates":[{"id":"ID","attributes":{"a":1}}]}`, status: http.StatusOK},
	"POST /preferences:restore":           {target: "/preferences:restore", body: `{"domain":"accounts","version":1}`, status: http.StatusOK},
	"POST /preferences:cleanOrphaned":     {target: "/preferences:cleanOrphaned", body: `{"entityId":"NEW","entityType":"account"}`, status: http.StatusOK},
	"POST /preferences:bulkCleanOrphaned": {target: "/preferences:bulkCleanOrphaned", body: `{"entities":[{"entityId":"NEW","entityType":"account"}]}`, status: http.StatusOK},
	"GET /preferences:detectOrphaned":     {target: detectPath, status: http.StatusOK},
	"HEAD /preferences:detectOrphaned":    {target: detectPath, status: http.StatusOK},
	"GET /operations":                     {target: "/operations", status: http.StatusOK},
	"HEAD /operations":                    {target: "/operations", status: http.StatusOK},
	"POST /operations:reconcile":          {target: "/operations:reconcile?dryRun=false", status: http.StatusAccepted},
	"POST /operations:verify":             {target: "/operations:verify", status: http.StatusAccepted},
	"GET /operations/:id":                 {target: "/operations/OPN", status: http.StatusOK},
	"HEAD /operations/:id":                {target: "/operations/OPN", status: http.StatusOK},
	"POST /operations/:id/cancel":         {target: "/operations/OPN/cancel", status: http.StatusAccepted},
	"POST /operations/:id/undo":           {target: "/operations/OPN/undo", status: http.StatusAccepted},
	"GET /preferences:history":            {target: history, status: http.StatusOK},
	"HEAD /preferences:history":           {target: history, status: http.StatusOK},
	"GET /auditEvents":                    {target: trail, status: http.StatusOK},
	"HEAD /auditEvents":                   {target: trail, status: http.StatusOK},
	"GET /status":                         {target: "/status", status: http.StatusOK},
	"HEAD /status":                        {target: "/status", status: http.StatusOK},
	"GET /openapi.yaml":                   {target: "/openapi.yaml", status: http.StatusOK},
	"HEAD /openapi.yaml":                  {target: "/openapi.yaml", status: http.StatusOK},
	"GET /asyncapi.yaml":                  {target: "/asyncapi.yaml", status: http.StatusOK},
	"HEAD /asyncapi.yaml":                 {target: "/asyncapi.yaml", status: http.StatusOK},
	"GET /info":                           {target: "/info", status: http.StatusOK},
	"HEAD /info":                          {target: "/info", status: http.StatusOK},
	"GET /schemas/:type/:version":         {target: "/schemas/preferences.updated/1", status: http.StatusOK},
	"HEAD /schemas/:type/:version":        {target: "/schemas/preferences.updated/1", status: http.StatusOK},
	"GET /docs":                           {target: "/docs", status: http.StatusOK},
	"HEAD /docs":                          {target: "/docs", status: http.StatusOK},
	"GET /docs/:file":                     {target: "/docs/swagger-ui-bundle.js.LICENSE.txt", status: http.StatusOK},
	"HEAD /docs/:file":                    {target: "/docs/swagger-ui-bundle.js.LICENSE.txt", status: http.StatusOK},
}

// sampleOf finds the sample of a route.
func sampleOf(t *testing.T, r api.Route) sample {
	t.Helper()
	s, ok := samples[nameOf(r)]
	require.True(t, ok, "%s has no sample", nameOf(r))
	return s
}

func nameOf(r api.Route) string { return r.Method + " " + strings.ReplaceAll(r.Path, `\:`, ":") }

// try sends a sample.
func (c caller) try(method string, s sample, it preference, entity string, h ...string) answered {
	c.Helper()
	fill := strings.NewReplacer("ID", it.ID, "TAG", it.ETag, "NEW", entity, "OPN", c.open)
	header := make([]string, 0, len(s.header)+len(h))
	for _, text := range append(slices.Clone(s.header), h...) {
		header = append(header, fill.Replace(text))
	}
	return c.send(method, fill.Replace(s.target), fill.Replace(s.body), header...)
}

// who may do what, by audience: the answers to callers whose request is right.
// permitted stands for the status of the sample.
const permitted = 0

var matrix = map[api.Audience]map[string]int{
	api.Anyone: {"nobody": permitted, "impostor": permitted, "user": permitted, "foreign user": permitted, "system": permitted, "admin": permitted},
	api.Users:  {"nobody": 401, "impostor": 401, "user": permitted, "foreign user": permitted, "system": permitted, "admin": permitted},
	api.System: {"nobody": 401, "impostor": 401, "user": 403, "foreign user": 403, "system": permitted, "admin": permitted},
	api.Admins: {"nobody": 401, "impostor": 401, "user": 403, "foreign user": 403, "system": 403, "admin": permitted},
}

// codes of refusals.
var refusals = map[int]string{401: "INVALID_TOKEN", 403: "INSUFFICIENT_SCOPE", 404: "NOT_FOUND"}

// TestWhoMayDoWhat sends every route the same request in the name of everybody.
// What one may not do changes nothing.
func TestWhoMayDoWhat(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	everybody := map[string]caller{
		"nobody": {world: w}, "impostor": {w, token(t, "alice") + "x"}, "user": alice, "foreign user": w.as("bob"),
		"system": w.system(), "admin": w.admin(),
	}
	cells := 0
	for _, r := range api.Routes() {
		want, declared := matrix[r.Audience]
		require.True(t, declared, "%s declares no audience", nameOf(r))
		for _, who := range slices.Sorted(maps.Keys(everybody)) {
			cells++
			t.Run(nameOf(r)+" "+who, func(t *testing.T) {
				s := sampleOf(t, r)
				c := everybody[who].in(t)
				entity := fmt.Sprintf("new-%d", cells)
				it := alice.in(t).save("a-" + entity).Preferences[0]
				c.open = c.in(t).deferred(entity)
				status := want[who]
				if status == permitted && strings.Contains(s.target+s.body, "ID") && who != "user" {
					status = http.StatusNotFound // even an administrator has no hand in single items of others
				}
				if status == permitted {
					c.try(r.Method, s, it, entity).is(s.status)
					return
				}
				c.unchanged(func() { c.try(r.Method, s, it, entity).fails(status, refusals[status]) })
			})
		}
	}
	require.Equal(t, len(api.Routes())*len(everybody), cells)
	require.Len(t, samples, len(api.Routes()), "every sample belongs to a route")
	t.Logf("%d routes x %d callers", len(api.Routes()), len(everybody))
}

// TestScopesAreDescribed: where more than a token is needed, the description of
// the operation names the scope, and the answers of whoever stands at the door.
func TestScopesAreDescribed(t *testing.T) {
	t.Parallel()
	for _, r := range api.Routes() {
		if r.Audience == api.Anyone {
			continue
		}
		path := strings.NewReplacer("/:id", "/{id}", `\:`, ":").Replace(r.Path)
		op := contract().doc.Paths.Find(path).GetOperation(r.Method)
		for _, status := range []int{401, 403, 429, 503} {
			require.NotNil(t, op.Responses.Status(status), "%s describes %d", nameOf(r), status)
		}
		text := op.Description + op.Summary
		if r.Method == http.MethodHead {
			text = contract().doc.Paths.Find(path).Get.Description
		}
		switch r.Audience {
		case api.System:
			require.Contains(t, text, "`"+auth.ScopeSystem+"`", nameOf(r))
		case api.Admins:
			require.Contains(t, text, "`"+auth.ScopeAdmin+"`", nameOf(r))
		default:
		}
	}
}

// TestAForeignIDIsAnUnknownOne: whatever one asks about an item of somebody else,
// and however, the answer is that about an item that never was, to the last
// header.
func TestAForeignIDIsAnUnknownOne(t *testing.T) {
	w := begin(t)
	theirs := w.as("alice").save("a").Preferences[0]
	never := preference{ID: "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", ETag: theirs.ETag}
	for who, c := range map[string]caller{"foreign user": w.as("bob"), "system": w.system(), "admin": w.admin()} {
		c.save("b")
		for _, r := range api.Routes() {
			s := sampleOf(t, r)
			if !strings.Contains(s.target, "ID") && !strings.Contains(s.body, "ID") {
				continue
			}
			w.unchanged(func() {
				for _, h := range [][]string{
					{},
					{"If-Match", "*"},
					{"If-Match", "TAG"},
					{"If-Match", `"TAG-gz"`},
					{"If-Match", `W/"TAG"`},
					{"If-Match", `"x"`},
					{"If-None-Match", "*"},
					{"If-None-Match", `"TAG"`},
					{"If-Match", `"x"`, "If-None-Match", `"TAG"`},
					{"Accept-Encoding", "gzip"},
					{"Accept", "application/problem+json"},
				} {
					h = append(h, "X-Request-Id", "same")
					got, want := c.try(r.Method, s, theirs, "new", h...), c.try(r.Method, s, never, "new", h...)
					require.Equal(t, http.StatusNotFound, got.StatusCode, "%s %s %v", who, nameOf(r), h)
					require.Equal(t, want.text, got.text)
					for _, res := range []answered{got, want} {
						res.Header.Del("Date")
						res.Header.Del("Ratelimit") // it counts requests
					}
					require.Equal(t, want.Header, got.Header, "%s %s %v", who, nameOf(r), h)
				}
			})
		}
	}
}
