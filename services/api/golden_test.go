package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGolden is the story of a list, as its user sees it. What differs from run
// to run is replaced by names: the same value by the same name.
func TestGolden(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	names := &naming{known: map[string]string{}}
	step := func(name string, c caller, method, target, body string, h ...string) answered {
		res := c.send(method, target, body, append(h, "X-Request-Id", "request-"+name)...)
		golden(t, name, names.of(res))
		return res
	}
	step("list_never_saved", alice, http.MethodGet, accounts, "")
	first := step("replace_first", alice, http.MethodPut, "/preferences:batchReplace", firstSave).list(http.StatusOK)
	step("replace_same", alice, http.MethodPut, "/preferences:batchReplace", firstSave)
	step("list", alice, http.MethodGet, accounts, "")
	step("list_not_modified", alice, http.MethodGet, accounts, "", "If-None-Match", `"`+first.ETag+`"`)
	step("list_page", alice, http.MethodGet, accounts+"&sortBy=entityId&sortOrder=desc&pageSize=2", "")
	id := first.find("acc-003").ID
	item := step("item", alice, http.MethodGet, "/preferences/"+id, "").item(http.StatusOK)
	step("item_patched", alice, http.MethodPatch, "/preferences/"+id, `{"attributes":{"isFavorite":true},"order":1}`, "If-Match", item.ETag)
	step("item_patched_stale", alice, http.MethodPatch, "/preferences/"+id, `{"attributes":{"isFavorite":false}}`, "If-Match", item.ETag)
	step("created", alice, http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"acc-005","attributes":{"label":"<new & shiny>"}}`)
	step("created_again", alice, http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"acc-005"}`)
	step("deleted", alice, http.MethodDelete, "/preferences/"+first.find("acc-001").ID, "")
	step("deleted_again", alice, http.MethodDelete, "/preferences/"+first.find("acc-001").ID, "")
	step("cleaned", w.system(), http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"acc-004","entityType":"account"}`)
	step("replace_skipping", alice, http.MethodPut, "/preferences:batchReplace", body("acc-002", "acc-004"))
	step("replace_invalid", alice, http.MethodPut, "/preferences:batchReplace", items0(`{"entityId":"a","order":1}`, `{"entityId":"a","order":1,"ordre":2}`, `{"entityId":""}`))
	step("replace_conflicting", alice, http.MethodPut, "/preferences:batchReplace", items0(`{"entityId":"a","order":1}`, `{"entityId":"b","order":1}`))
	step("replace_not_json", alice, http.MethodPut, "/preferences:batchReplace", `{"domain":"accounts",}`)
	step("unknown_domain", alice, http.MethodGet, "/preferences?domain=contacts", "")
	step("unknown_parameter", alice, http.MethodGet, accounts+"&filtr=x", "")
	step("unsupported_media_type", alice, http.MethodPatch, "/preferences/"+id, "a=b", "Content-Type", "application/x-www-form-urlencoded")
	step("method_not_allowed", alice, http.MethodPut, "/preferences/"+id, "{}")
	step("no_such_address", alice, http.MethodGet, "/nope", "")
	step("no_token", caller{world: w}, http.MethodGet, accounts, "")
	step("bad_token", alice, http.MethodGet, accounts, "", "Authorization", "Bearer x")
	step("insufficient_scope", alice, http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"a","entityType":"account"}`)
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// naming gives names to ids, tags, times and tokens in the order in which they
// appear.
type naming struct {
	known map[string]string
	count [4]int
}

// volatile values stand in the first group of their pattern, or are all of it.
var volatile = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"id", regexp.MustCompile(`([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})`)},
	{"time", regexp.MustCompile(`(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)`)},
	{"token", regexp.MustCompile(`"(?:nextPage|sync)Token": "([A-Za-z0-9_-]+)"`)},
	{"tag", regexp.MustCompile(`(?i:etag"?): "([A-Za-z0-9_-]{16})"`)},
}

func (n *naming) of(res answered) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n%s\n", res.Request.Method, res.Request.URL.RequestURI(), res.Status)
	for _, name := range []string{
		"Accept-Patch", "Allow", "Cache-Control", "Content-Type", "ETag", "Location", "Retry-After", "Vary", "WWW-Authenticate", "X-Content-Type-Options", "X-Request-Id",
	} {
		for _, value := range res.Header.Values(name) {
			fmt.Fprintf(&out, "%s: %s\n", name, value)
		}
	}
	if res.text != "" {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(res.text), "", "  "); err != nil {
			pretty.WriteString(res.text)
		}
		out.WriteString("\n" + pretty.String())
	}
	text := out.String()
	for kind, v := range volatile {
		text = v.pattern.ReplaceAllStringFunc(text, func(match string) string {
			value := v.pattern.FindStringSubmatch(match)[1]
			return strings.Replace(match, value, n.name(kind, value), 1)
		})
	}
	return text
}

func (n *naming) name(kind int, value string) string {
	name, ok := n.known[value]
	if !ok {
		n.count[kind]++
		name = fmt.Sprintf("%s-%d", volatile[kind].name, n.count[kind])
		n.known[value] = name
	}
	return name
}
