package api_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/api"
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
	w := begin(t)
	var info struct {
		Name, DomainsVersion string
		Domains              []struct{ Name, EntityType string }
		Limits               map[string]any
	}
	caller{world: w}.send(http.MethodGet, "/info", "").is(http.StatusOK).into(&info)
	require.Equal(t, "prefsd", info.Name)
	require.Equal(t, "accounts", info.Domains[0].Name)
	require.Equal(t, "account", info.Domains[0].EntityType)
	require.NotEmpty(t, info.DomainsVersion)
	want := map[string]any{
		"items": 1000, "entityIdCharacters": 128, "userIdBytes": 255, "domainCharacters": 63, "attributesBytes": 16 << 10,
		"attributesDepth": 16, "attributesKeys": 256, "attributesKeyCharacters": 128, "listAttributesBytes": 1 << 20, "bodyBytes": maxBody,
		"urlBytes": 8 << 10, "headerBytes": 32 << 10, "pageSize": 1000, "historyPageSize": 200, "filterComparisons": 20, "syncVersions": 1000,
		"idempotencyKeyCharacters": 255, "idempotencyHours": 24, "awaitedEntities": 50, "requestsOfUsers": "1000000/1m0s", "requestsOfServices": "1000000/1m0s",
		"requestsOfUsersAtOnce": 64, "requestsOfServicesAtOnce": 256, "requestsAtWork": 12,
	}
	for name, value := range want {
		require.EqualValues(t, value, info.Limits[name], name)
	}
	require.Len(t, info.Limits, len(want))
	caller{world: w.limited(api.Limits{})}.send(http.MethodGet, "/info", "").is(http.StatusOK).into(&info)
	for _, name := range []string{"requestsOfUsersAtOnce", "requestsOfServicesAtOnce", "requestsAtWork"} {
		require.Zero(t, info.Limits[name], name)
	}
	require.Equal(t, "off", info.Limits["requestsOfUsers"])
}

// TestTheVersionOfTheDomainsChangesWithThem, with the part that no client sees too.
func TestTheVersionOfTheDomainsChangesWithThem(t *testing.T) {
	w := begin(t)
	version := func(domains string) string {
		d, err := preferences.ParseDomains([]byte(domains))
		require.NoError(t, err)
		other := *w
		other.url = serve(t, api.New(api.Options{
			Preferences: w.prefs, Verifier: verifier(t), Log: slog.New(slog.DiscardHandler), Timeout: time.Second, About: api.About{Domains: d},
		}))
		var info struct{ DomainsVersion string }
		caller{world: &other}.send(http.MethodGet, "/info", "").is(http.StatusOK).into(&info)
		return info.DomainsVersion
	}
	const cards = `[{"name":"cards","entityType":"card","events":{"topic":"card.events","idField":"cardId","deleted":"card.deleted"}}]`
	first := version(cards)
	require.Equal(t, first, version(strings.ReplaceAll(cards, `:"`, `: "`)))
	require.NotEqual(t, first, version(strings.ReplaceAll(cards, "cardId", "id")))
}
