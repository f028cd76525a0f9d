package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// view is the address of a list with parameters in pairs.
func view(parameters ...string) string {
	q := url.Values{"domain": {"accounts"}}
	for pair := range pairs(parameters) {
		q.Set(pair[0], pair[1])
	}
	return "/preferences?" + q.Encode()
}

func TestAFilterLeavesWhatMatches(t *testing.T) {
	alice := begin(t).as("alice")
	saved := alice.replace(items0(
		`{"entityId":"a","attributes":{"isFavorite":true,"n":1}}`, `{"entityId":"b","attributes":{"n":"1"}}`,
		`{"entityId":"c","attributes":{"isFavorite":true,"my key":"é"}}`, `{"entityId":"acc.1:x","attributes":{"isFavorite":false,"n":1.0}}`,
	)).list(http.StatusOK)
	for filter, want := range map[string][]string{
		`attributes.isFavorite = true`:                             {"a", "c"},
		`attributes.isFavorite=true AND attributes.n = 1`:          {"a"},
		`attributes.n = 1`:                                         {"a", "acc.1:x"},
		`attributes.n = "1"`:                                       {"b"},
		`attributes."my key" = 'é'`:                                {"c"},
		`entityId = acc.1:x`:                                       {"acc.1:x"},
		`entityType = account AND entityId = "b"`:                  {"b"},
		`entityType = contact`:                                     {},
		`attributes.constructor = x AND attributes."; drop" = "'"`: {},
	} {
		l := alice.send(http.MethodGet, view("filter", filter), "").list(http.StatusOK)
		require.Equal(t, want, idsOf(l), filter)
		require.Equal(t, len(want), l.TotalSize, "the total is that of what matches")
		require.Equal(t, saved.ETag, l.ETag, "a view has the list's tag")
		require.Equal(t, saved.Version, l.Version)
		alice.send(http.MethodGet, view("filter", filter), "", "If-None-Match", saved.ETag).notModified(saved.ETag)
	}
	shown := alice.send(http.MethodGet, view("filter", "attributes.isFavorite = true", "sortOrder", "desc"), "").list(http.StatusOK)
	require.Equal(t, []string{`c:3{"my key":"é","isFavorite":true}`, `a:1{"n":1,"isFavorite":true}`}, shown.shown(), "orders are those of the list")
}

func TestAFilterThatCannotBeReadIsRefusedWithItsPlace(t *testing.T) {
	alice := begin(t).as("alice")
	for filter, place := range map[string]string{
		"":                            "at character 1",
		"isFavorite = true":           "at character 1",
		"entityId = a OR entityId=b":  "at character 14",
		"entityId = a AND entityId":   "at character 26",
		`attributes.x = "`:            "at character 16",
		"entityId = \x00":             "at character 12",
		"é":                           "at character 1",
		"entityId : a":                "at character 10",
		strings.Repeat("a = b ", 900): "at character 7",
	} {
		p := alice.send(http.MethodGet, view("filter", filter), "").fails(http.StatusBadRequest, "INVALID_FIELD", "filter")
		require.Contains(t, p.Error.Details.FieldViolations[0].Description, place, filter)
	}
	alice.send(http.MethodGet, accounts+"&filter=entityId%3D%FF", "").fails(http.StatusBadRequest, "INVALID_FIELD", "filter")
	alice.send(http.MethodGet, view("filter", "x", "fields", "y", "pageSize", "z"), "").
		fails(http.StatusBadRequest, "INVALID_FIELD", "filter", "fields", "pageSize")
	alice.send(http.MethodGet, accounts+"&filter=entityId=a&filter=entityId=b", "").fails(http.StatusBadRequest, "INVALID_FIELD", "filter")
}

// TestFieldsSelectMembers: what is shown is as in the whole answer, in its
// order.
func TestFieldsSelectMembers(t *testing.T) {
	alice := begin(t).as("alice")
	saved := alice.replace(items0(`{"entityId":"a","attributes":{"b":1}}`, `{"entityId":"b"}`)).list(http.StatusOK)
	for fields, want := range map[string]string{
		"etag":                   `{"etag":"` + saved.ETag + `"}`,
		"version,totalSize":      `{"totalSize":2,"version":1}`,
		"version,version":        `{"version":1}`,
		"nextPageToken":          `{"nextPageToken":null}`,
		"preferences.entityId":   `{"preferences":[{"entityId":"a"},{"entityId":"b"}]}`,
		"preferences.order,etag": `{"preferences":[{"order":1},{"order":2}],"etag":"` + saved.ETag + `"}`,
		"preferences.attributes,preferences.domain": `{"preferences":[{"domain":"accounts","attributes":{"b":1}},{"domain":"accounts","attributes":{}}]}`,
	} {
		res := alice.send(http.MethodGet, view("fields", fields), "").is(http.StatusOK)
		require.Equal(t, want+"\n", res.text)
		require.Equal(t, `"`+saved.ETag+`"`, res.Header.Get("ETag"))
		alice.send(http.MethodGet, view("fields", fields), "", "If-None-Match", saved.ETag).notModified(saved.ETag)
		head := alice.send(http.MethodHead, view("fields", fields), "").is(http.StatusOK)
		require.Equal(t, res.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
	}
	whole := alice.send(http.MethodGet, accounts, "").text
	every := "preferences,nextPageToken,totalSize,etag,version,syncToken"
	require.Equal(t, whole, alice.send(http.MethodGet, view("fields", every), "").text)
	var members struct{ Preferences []map[string]json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(whole), &members))
	for name := range members.Preferences[0] {
		every += ",preferences." + name
	}
	require.Equal(t, whole, alice.send(http.MethodGet, view("fields", strings.TrimPrefix(every, "preferences,")), "").text)
	for _, unknown := range []string{"", "x", "etag,", "preferences.", "preferences.x", "preferences.attributes.b", "Etag", "etag, version", "*", "items", "\x00"} {
		p := alice.send(http.MethodGet, view("fields", unknown), "").fails(http.StatusBadRequest, "INVALID_FIELD", "fields")
		require.Contains(t, p.Error.Details.FieldViolations[0].Description, "totalSize, etag, version", unknown)
		require.Contains(t, p.Error.Details.FieldViolations[0].Description, "preferences.entityId, preferences.entityType")
	}
}

// TestCase040_ATokenBelongsToItsView: a page token is good for the filter and
// the fields that it came from.
func TestCase040_ATokenBelongsToItsView(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(9)...)
	const filter = "entityType = account"
	var ids []string
	for token := ""; ; {
		l := alice.send(http.MethodGet, view("filter", filter, "pageSize", "2", "pageToken", token), "").list(http.StatusOK)
		require.Equal(t, 9, l.TotalSize)
		ids = append(ids, idsOf(l)...)
		if l.NextPageToken == nil {
			break
		}
		token = *l.NextPageToken
	}
	require.Equal(t, many(9), ids)

	plain := *alice.page("", 2, "").NextPageToken
	first := alice.send(http.MethodGet, view("filter", filter, "pageSize", "2"), "").list(http.StatusOK)
	var masked list
	alice.send(http.MethodGet, view("fields", "nextPageToken", "pageSize", "2"), "").is(http.StatusOK).into(&masked)
	for _, address := range []string{
		view("pageToken", *first.NextPageToken),
		view("pageToken", *first.NextPageToken, "filter", "entityType=account"),
		view("pageToken", *first.NextPageToken, "filter", filter, "fields", "etag"),
		view("pageToken", plain, "filter", filter),
		view("pageToken", plain, "fields", "nextPageToken"),
		view("pageToken", *masked.NextPageToken),
		view("pageToken", *masked.NextPageToken, "fields", "etag"),
	} {
		alice.send(http.MethodGet, address, "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	}
	res := alice.send(http.MethodGet, view("pageToken", *masked.NextPageToken, "fields", "nextPageToken"), "").is(http.StatusOK)
	require.Equal(t, `{"nextPageToken":null}`+"\n", res.text)
}
