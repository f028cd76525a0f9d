package api_test

import (
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

// TestThePageLoadsNothingButItsOwnFiles, each of which may be kept for good: what
// is in it is in its name.
func TestThePageLoadsNothingButItsOwnFiles(t *testing.T) {
	nobody := caller{world: begin(t)}
	res := nobody.send(http.MethodGet, "/docs", "", "Accept-Encoding", "gzip").is(http.StatusOK)
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	require.NotRegexp(t, `(?i)<style|style=|\son\w+=|javascript:|https?://`, res.text, "its policy would not let it")
	require.NotRegexp(t, `<script[^>]*>[^<]`, res.text)
	files := regexp.MustCompile(`(?:src|href)="(docs/[^"]+)"`).FindAllStringSubmatch(res.text, -1)
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
	require.Len(t, files, 4)
	for _, f := range files {
		name := "/" + f[1]
		packed := nobody.send(http.MethodGet, name, "", "Accept-Encoding", "gzip").is(http.StatusOK)
		require.Equal(t, "public, max-age=31536000, immutable", packed.Header.Get("Cache-Control"))
		require.Equal(t, kinds[name[strings.LastIndex(name, "."):]], packed.Header.Get("Content-Type"))
		require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
		plain := nobody.send(http.MethodGet, name, "", "Accept-Encoding", "identity").is(http.StatusOK)
		require.Empty(t, plain.Header.Get("Content-Encoding"))
		require.Equal(t, packed.text, plain.text)
		require.Contains(t, name, "."+strings.Trim(plain.Header.Get("ETag"), `"`)+".")
		same := nobody.send(http.MethodGet, name, "", "Accept-Encoding", "gzip", "If-None-Match", packed.Header.Get("ETag")).is(http.StatusNotModified)
		require.Equal(t, packed.Header.Get("ETag"), same.Header.Get("ETag"))
		require.Equal(t, packed.Header.Get("Cache-Control"), same.Header.Get("Cache-Control"))
		gone := strings.Replace(name, ".", ".x", 1)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			nobody.send(method, gone, "").fails(http.StatusNotFound, "NOT_FOUND")
			nobody.send(method, name, "", "If-Match", `"other"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		}
	}
	for _, name := range []string{"page.html", "docs.js", "LICENSE", "..%2Finfo", "swagger-ui", "swagger-ui%2Fswagger-ui.css.gz", "%00"} {
		nobody.send(http.MethodGet, "/docs/"+name, "").fails(http.StatusNotFound, "NOT_FOUND")
	}
}

// TestThePageNeedsNoScript: without one it names every route.
func TestThePageNeedsNoScript(t *testing.T) {
	text := caller{world: begin(t)}.send(http.MethodGet, "/docs", "").is(http.StatusOK).text
	for _, r := range api.Routes() {
		path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(strings.ReplaceAll(r.Path, `\:`, "\x00"), "{$1}")
		line := "<tr><td>" + r.Method + "</td><td><code>" + strings.ReplaceAll(path, "\x00", ":") + "</code></td>"
		require.Contains(t, text, line)
	}
	require.Equal(t, len(api.Routes()), strings.Count(text, "<tr><td>"))
	for _, link := range []string{"openapi.yaml", "asyncapi.yaml", "info"} {
		require.Contains(t, text, `href="`+link+`"`)
	}
}

// TestTheLicenseOfSwaggerUIIsThere, beside its files and where they refer to.
func TestTheLicenseOfSwaggerUIIsThere(t *testing.T) {
	own := os.DirFS("docs/swagger-ui")
	license, err := fs.ReadFile(own, "LICENSE")
	require.NoError(t, err)
	require.Contains(t, string(license), "Apache License")
	others, err := fs.ReadFile(own, "swagger-ui-bundle.js.LICENSE.txt")
	require.NoError(t, err)
	res := caller{world: begin(t)}.send(http.MethodGet, "/docs/swagger-ui-bundle.js.LICENSE.txt", "").is(http.StatusOK)
	require.Equal(t, string(others), res.text)
	require.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
}
