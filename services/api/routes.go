package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/services/api/middleware"
)

// Audience says who may use a route. The zero value is none that a route may
// have: who may do what has to be said.
type Audience int

// Audiences of routes.
const (
	Anyone Audience = iota + 1 // without a token
	Users                      // any valid token, for what is its own
	System                     // tokens of services and administrators
	Admins                     // tokens of administrators
)

// Route is one line of the route table.
type Route struct {
	Method   string
	Path     string        // of echo: a colon that is meant literally has a backslash
	Audience Audience      // who may use it
	Query    []string      // parameters that it knows
	Takes    []string      // media types of its body; none: it has no body
	Within   time.Duration // what the work may take, where that is more than usual

	handle echo.HandlerFunc
}

// Routes is the table of all routes, for whoever must not miss one.
func Routes() []Route { return (&server{}).routes() }

// longest is more than a request waits for its clean before it leaves the rest to
// the background.
const longest = 30 * time.Second

// methodsOf is what Allow says about the server as a whole.
func methodsOf(routes []Route) string {
	methods := []string{http.MethodOptions}
	for _, r := range routes {
		methods = append(methods, r.Method)
	}
	slices.Sort(methods[1:])
	return strings.Join(slices.Compact(methods), ", ")
}

// routes is the whole table, the one place that names a path.
func (s *server) routes() []Route {
	return slices.Concat(s.ofUsers(), s.ofOperators(), s.ofAnyone())
}

// ofUsers are the routes to one's own lists.
func (s *server) ofUsers() []Route {
	const (
		lists   = `/preferences`
		items   = `/preferences/:id`
		replace = `/preferences\:batchReplace`
		batch   = `/preferences\:batchUpdate`
		restore = `/preferences\:restore`
		history = `/preferences\:history`
	)
	var (
		list  = []string{paramDomain, paramSortBy, paramSortOrder, paramPageSize, paramPageToken, paramFilter, paramFields, paramSyncToken, paramMinVersion, paramUserID}
		past  = []string{paramDomain, paramPageSize, paramPageToken, paramUserID}
		force = []string{paramForce}
		whole = []string{paramForce, paramValidateOnly}
		body  = []string{middleware.TypeJSON}
		merge = []string{middleware.TypeMergePatch, middleware.TypeJSON}
	)
	return []Route{
		{Method: http.MethodGet, Path: lists, Audience: Users, Query: list, handle: s.list},
		{Method: http.MethodHead, Path: lists, Audience: Users, Query: list, handle: s.list},
		{Method: http.MethodPost, Path: lists, Audience: Users, Takes: body, handle: s.create},
		{Method: http.MethodGet, Path: items, Audience: Users, handle: s.item},
		{Method: http.MethodHead, Path: items, Audience: Users, handle: s.item},
		{Method: http.MethodPatch, Path: items, Audience: Users, Query: force, Takes: merge, handle: s.patch},
		{Method: http.MethodDelete, Path: items, Audience: Users, handle: s.remove},
		{Method: http.MethodPut, Path: replace, Audience: Users, Query: whole, Takes: body, handle: s.batchReplace},
		{Method: http.MethodPost, Path: replace, Audience: Users, Query: whole, Takes: body, handle: s.batchReplace},
		{Method: http.MethodPatch, Path: batch, Audience: Users, Query: force, Takes: body, handle: s.batchUpdate},
		{Method: http.MethodPost, Path: batch, Audience: Users, Query: force, Takes: body, handle: s.batchUpdate},
		{Method: http.MethodPost, Path: restore, Audience: Users, Takes: body, handle: s.restore},
		{Method: http.MethodGet, Path: history, Audience: Users, Query: past, handle: s.history},
		{Method: http.MethodHead, Path: history, Audience: Users, Query: past, handle: s.history},
	}
}

// ofOperators are the routes for services and administrators.
func (s *server) ofOperators() []Route {
	const (
		clean  = `/preferences\:cleanOrphaned`
		bulk   = `/preferences\:bulkCleanOrphaned`
		detect = `/preferences\:detectOrphaned`
		works  = `/operations`
		match  = `/operations\:reconcile`
		verify = `/operations\:verify`
		work   = `/operations/:id`
		cancel = `/operations/:id/cancel`
		undo   = `/operations/:id/undo`
		audit  = `/auditEvents`
		stand  = `/status`
	)
	var (
		trail = []string{paramUserID, paramStartTime, paramEndTime, paramDomain, paramActor, paramPageSize, paramPageToken}
		calls = []string{paramKind, paramState, paramPageSize, paramPageToken}
		lost  = []string{paramDomain, paramPageToken}
		taken = []string{paramUndo}
		dry   = []string{paramDryRun}
		trial = []string{paramValidateOnly}
		body  = []string{middleware.TypeJSON}
	)
	return []Route{
		{Method: http.MethodPost, Path: clean, Audience: System, Query: trial, Takes: body, Within: longest, handle: s.cleanOrphaned},
		{Method: http.MethodPost, Path: bulk, Audience: System, Takes: body, Within: longest, handle: s.bulkCleanOrphaned},
		{Method: http.MethodGet, Path: detect, Audience: System, Query: lost, Within: longest, handle: s.detectOrphaned},
		{Method: http.MethodHead, Path: detect, Audience: System, Query: lost, Within: longest, handle: s.detectOrphaned},
		{Method: http.MethodGet, Path: works, Audience: System, Query: calls, handle: s.operations},
		{Method: http.MethodHead, Path: works, Audience: System, Query: calls, handle: s.operations},
		{Method: http.MethodPost, Path: match, Audience: System, Query: dry, handle: s.reconcile},
		{Method: http.MethodPost, Path: verify, Audience: System, handle: s.verify},
		{Method: http.MethodGet, Path: work, Audience: System, handle: s.operation},
		{Method: http.MethodHead, Path: work, Audience: System, handle: s.operation},
		{Method: http.MethodPost, Path: cancel, Audience: System, Query: taken, handle: s.cancelOperation},
		{Method: http.MethodPost, Path: undo, Audience: System, handle: s.undoOperation},
		{Method: http.MethodGet, Path: audit, Audience: Admins, Query: trail, handle: s.auditEvents},
		{Method: http.MethodHead, Path: audit, Audience: Admins, Query: trail, handle: s.auditEvents},
		{Method: http.MethodGet, Path: stand, Audience: System, handle: s.status},
		{Method: http.MethodHead, Path: stand, Audience: System, handle: s.status},
	}
}

// ofAnyone are the routes that need no token.
func (s *server) ofAnyone() []Route {
	const (
		spec   = `/openapi.yaml`
		async  = `/asyncapi.yaml`
		info   = `/info`
		schema = `/schemas/:type/:version`
		docs   = `/docs`
		file   = `/docs/:file`
	)
	return []Route{
		{Method: http.MethodGet, Path: spec, Audience: Anyone, handle: s.spec},
		{Method: http.MethodHead, Path: spec, Audience: Anyone, handle: s.spec},
		{Method: http.MethodGet, Path: async, Audience: Anyone, handle: s.asyncapi},
		{Method: http.MethodHead, Path: async, Audience: Anyone, handle: s.asyncapi},
		{Method: http.MethodGet, Path: info, Audience: Anyone, handle: s.answerInfo},
		{Method: http.MethodHead, Path: info, Audience: Anyone, handle: s.answerInfo},
		{Method: http.MethodGet, Path: schema, Audience: Anyone, handle: s.schema},
		{Method: http.MethodHead, Path: schema, Audience: Anyone, handle: s.schema},
		{Method: http.MethodGet, Path: docs, Audience: Anyone, handle: s.docs},
		{Method: http.MethodHead, Path: docs, Audience: Anyone, handle: s.docs},
		{Method: http.MethodGet, Path: file, Audience: Anyone, handle: s.docsFile},
		{Method: http.MethodHead, Path: file, Audience: Anyone, handle: s.docsFile},
	}
}
