package api_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

// described is openapi.yaml, and what of it has been seen.
type described struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]bool // "operationId status"
}

var contract = sync.OnceValue(func() *described {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		panic(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	for _, text := range []string{"text/html", "text/css", "text/javascript"} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.FileBodyDecoder)
	}
	return &described{doc: doc, router: router, seen: map[string]bool{}}
})

// transport are headers that belong to HTTP and CORS themselves and are not
// described at each answer.
var transport = []string{
	"Date", "Content-Length", "Content-Type", "Content-Encoding", "Allow", "Connection", "Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
}

// secured are headers that every answer has.
var secured = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"X-Content-Type-Options":       "nosniff",
}

// pagePolicy is that of the one answer which browsers run something of.
var pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// isPage says whether an answer is the page for people, or that it is unchanged.
func isPage(res *http.Response) bool {
	return res.Request.URL.Path == "/docs" && (res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNotModified)
}

func checkSecured(res *http.Response) error {
	sent := res.Header
	for name, value := range secured {
		if name == "Content-Security-Policy" && isPage(res) {
			value = pagePolicy
		}
		if got := sent.Values(name); len(got) != 1 || got[0] != value {
			return fmt.Errorf("the header %s is %q", name, got)
		}
	}
	if sent.Get("Cache-Control") == "" {
		return errors.New("nothing says whether the answer may be kept")
	}
	return nil
}

// check holds one exchange against the description: status, headers and body
// of the answer, and the request, if it was accepted.
func (d *described) check(req *http.Request, res *http.Response, body []byte) error {
	if err := checkSecured(res); err != nil {
		return err
	}
	looked := req.Clone(context.Background())
	looked.URL.RawPath = ""
	route, params, err := d.router.FindRoute(looked)
	if err != nil {
		return d.checkUndescribed(req, res, body, err)
	}
	d.mu.Lock()
	d.seen[fmt.Sprintf("%s %d", route.Operation.OperationID, res.StatusCode)] = true
	d.mu.Unlock()
	said := route.Operation.Responses.Status(res.StatusCode)
	if said == nil {
		return fmt.Errorf("%s does not document this status", route.Operation.OperationID)
	}
	if err := checkHeaders(said.Value.Headers, res.Header); err != nil {
		return err
	}
	in := &openapi3filter.RequestValidationInput{
		Request: looked, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(body)),
	})
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		return err
	}
	if err := d.checkShape(route.Operation.OperationID, res, looked.URL.Query(), body); err != nil {
		return err
	}
	return d.checkAccepted(req, in)
}

// checkShape says which of the shapes of a list an answer must have: they are
// alternatives, and the smaller one would excuse what is missing in the larger.
func (d *described) checkShape(operation string, res *http.Response, query url.Values, body []byte) error {
	if operation != "listPreferences" || res.StatusCode != http.StatusOK {
		return nil
	}
	shape := "List"
	switch {
	case query.Has("syncToken"):
		shape = "ListChanges"
	case query.Has("fields"):
		shape = "PartialList"
	}
	var value any
	if err := jsonInto(body, &value); err != nil {
		return err
	}
	if err := d.doc.Components.Schemas[shape].Value.VisitJSON(value); err != nil {
		return fmt.Errorf("not a %s: %w", shape, err)
	}
	return nil
}

// checkAccepted finds what the API takes although it is not documented.
func (d *described) checkAccepted(req *http.Request, in *openapi3filter.RequestValidationInput) error {
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return err
		}
		in.Request.Body = body
	}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		return fmt.Errorf("accepted against the description: %w", err)
	}
	for name := range in.Request.URL.Query() {
		if in.Route.Operation.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("the parameter %s is accepted, but not documented", name)
		}
	}
	return nil
}

// checkHeaders does for every answer what the library does for those with a
// body, and finds headers that are sent without being documented.
func checkHeaders(said openapi3.Headers, sent http.Header) error {
	for name, h := range said {
		value, given := sent[http.CanonicalHeaderKey(name)]
		switch {
		case !given && h.Value.Required:
			return fmt.Errorf("the header %s is missing", name)
		case given:
			if err := h.Value.Schema.Value.VisitJSONString(strings.Join(value, ", ")); err != nil {
				return fmt.Errorf("the header %s: %w", name, err)
			}
		}
	}
	for name := range sent {
		_, documented := secured[name]
		documented = documented || slices.Contains(transport, name)
		for said := range said {
			documented = documented || http.CanonicalHeaderKey(said) == name
		}
		if !documented {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	return nil
}

// checkUndescribed judges answers at addresses, and to methods, that the
// description does not have.
func (d *described) checkUndescribed(req *http.Request, res *http.Response, body []byte, why error) error {
	allowed := map[int]bool{http.StatusNotFound: true, http.StatusMethodNotAllowed: true, http.StatusRequestURITooLong: true, http.StatusRequestHeaderFieldsTooLarge: true}
	if req.Method == http.MethodOptions && res.StatusCode == http.StatusNoContent && res.Header.Get("Allow") != "" {
		return nil
	}
	if !allowed[res.StatusCode] {
		return fmt.Errorf("answered although the description does not have it: %w", why)
	}
	if res.StatusCode == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "" {
		return errors.New("405 without Allow")
	}
	if req.Method == http.MethodHead {
		return nil
	}
	var value any
	if err := jsonInto(body, &value); err != nil {
		return err
	}
	schema := "Error"
	if res.Header.Get("Content-Type") == "application/problem+json" {
		schema = "Problem"
	}
	return d.doc.Components.Schemas[schema].Value.VisitJSON(value)
}

// rare are answers that no test can ask for at every route: those of our own
// mistakes, of outages and of slowness are shown at one route each, and a clean
// is taken over only from a caller who was silent for longer than a lease.
var rare = regexp.MustCompile(` (500|503|504)$|^cleanOrphanedPreferences 409$`)

// unseen lists what is documented and has not happened.
func (d *described) unseen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var missing []string
	for _, path := range d.doc.Paths.Map() {
		for _, op := range path.Operations() {
			for status := range op.Responses.Map() {
				if name := op.OperationID + " " + status; !d.seen[name] && !rare.MatchString(name) {
					missing = append(missing, name)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// wholeRun says whether all tests of the package ran.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

func TestTheDescriptionIsValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, contract().doc.Validate(t.Context(), openapi3.EnableExamplesValidation()))
}

// TestRoutesAndDescriptionAgree goes both ways: each route is described with
// its parameters, body and audience, and nothing else is described.
func TestRoutesAndDescriptionAgree(t *testing.T) {
	t.Parallel()
	documented := map[string]*openapi3.Operation{}
	for path, item := range contract().doc.Paths.Map() {
		for method, op := range item.Operations() {
			documented[method+" "+path] = op
		}
	}
	for _, r := range api.Routes() {
		path := regexp.MustCompile(`/:(\w+)`).ReplaceAllString(r.Path, "/{$1}")
		name := r.Method + " " + strings.ReplaceAll(path, `\:`, ":")
		op, ok := documented[name]
		require.True(t, ok, "%s is not described", name)
		delete(documented, name)

		var query []string
		for _, p := range op.Parameters {
			if p.Value.In == "query" {
				query = append(query, p.Value.Name)
			}
		}
		require.ElementsMatch(t, r.Query, query, "parameters of %s", name)
		var takes []string
		if op.RequestBody != nil {
			for media := range op.RequestBody.Value.Content {
				takes = append(takes, media)
			}
		}
		require.ElementsMatch(t, r.Takes, takes, "bodies of %s", name)
		open := op.Security != nil && len(*op.Security) == 0
		require.Equal(t, r.Audience == api.Anyone, open, "audience of %s", name)
	}
	require.Empty(t, documented, "described, but not served")
}

func TestTheDescriptionIsServed(t *testing.T) {
	w := begin(t)
	nobody := caller{world: w}
	res := nobody.send(http.MethodGet, "/openapi.yaml", "").is(http.StatusOK)
	require.Equal(t, string(api.OpenAPI), res.text)
	require.Equal(t, "application/yaml", res.Header.Get("Content-Type"))
	tag := res.Header.Get("ETag")

	head := nobody.send(http.MethodHead, "/openapi.yaml", "").is(http.StatusOK)
	require.Empty(t, head.text)
	require.Equal(t, res.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		again := nobody.send(method, "/openapi.yaml", "", "If-None-Match", tag).is(http.StatusNotModified)
		require.Empty(t, again.text)
		require.Equal(t, tag, again.Header.Get("ETag"))
		nobody.send(method, "/openapi.yaml", "", "If-Match", `"other"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		nobody.send(method, "/openapi.yaml", "", "If-Match", `"a`).fails(http.StatusBadRequest, "MALFORMED_PRECONDITION")
		nobody.send(method, "/openapi.yaml?a=b&userId=alice", "").fails(http.StatusBadRequest, "INVALID_FIELD", "a", "userId")
	}
}
