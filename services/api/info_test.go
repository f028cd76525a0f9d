package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// documents are one address of each that anyone may read and that stays the same.
var documents = []string{"/openapi.yaml", "/asyncapi.yaml", "/info", "/schemas/preferences.updated/1", "/docs", "/docs/swagger-ui-bundle.js.LICENSE.txt"}

func TestDocumentsAreForAnyoneAndHaveTags(t *testing.T) {
	nobody := caller{world: begin(t)}
	for _, address := range documents {
		res := nobody.send(http.MethodGet, address, "").is(http.StatusOK)
		require.Equal(t, "private, max-age=300", res.Header.Get("Cache-Control"))
		head := nobody.send(http.MethodHead, address, "").is(http.StatusOK)
		require.Equal(t, res.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			require.Empty(t, nobody.send(method, address, "", "If-None-Match", res.Header.Get("ETag")).is(http.StatusNotModified).text)
			nobody.send(method, address, "", "If-Match", `"other"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
			nobody.send(method, address, "", "If-Match", `"a`).fails(http.StatusBadRequest, "MALFORMED_PRECONDITION")
			nobody.send(method, address+"?a=b", "").fails(http.StatusBadRequest, "INVALID_FIELD", "a")
		}
	}
}

func TestEverySchemaIsServed(t *testing.T) {
	nobody := caller{world: begin(t)}
	require.NotEmpty(t, events.Schemas())
	for name, text := range events.Schemas() {
		res := nobody.send(http.MethodGet, "/schemas/"+name, "").is(http.StatusOK)
		require.Equal(t, string(text), res.text)
		require.Equal(t, "application/schema+json", res.Header.Get("Content-Type"))
	}
	for _, name := range []string{"preferences.updated/2", "preferences.updated/01", "preferences.updated/1.json", "nope/1", "../1", "%2e%2e/1", "a%2Fb/1", "%00/1", "preferences.updated/%2F1"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			nobody.send(method, "/schemas/"+name, "").fails(http.StatusNotFound, "NOT_FOUND")
		}
	}
	nobody.send(http.MethodGet, "/schemas/preferences.updated", "").fails(http.StatusNotFound, "NOT_FOUND")
}

func TestInfoPublishesTheLimits(t *testing.T) {
	var info struct {
		Name    string
		Domains []struct{ Name, EntityType string }
		Limits  map[string]any
	}
	caller{world: begin(t)}.send(http.MethodGet, "/info", "").is(http.StatusOK).into(&info)
	require.Equal(t, "prefsd", info.Name)
	require.Equal(t, "accounts", info.Domains[0].Name)
	require.Equal(t, "account", info.Domains[0].EntityType)
	require.InDelta(t, preferences.MaxItems, info.Limits["items"], 0)
	require.NotEmpty(t, info.Limits["requestsOfUsers"])
}
