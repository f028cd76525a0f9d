package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

// TestCase031: a compressed list has a tag of its own, and either tag serves in
// every condition.
func TestCase031_ACompressedListHasATagOfItsOwn(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	saved := alice.save(many(20)...)
	id := saved.Preferences[0].ID
	plain := alice.send(http.MethodGet, accounts, "").is(http.StatusOK)
	packed := alice.send(http.MethodGet, accounts, "", "Accept-Encoding", "gzip").is(http.StatusOK)
	require.Equal(t, plain.text, packed.text)
	require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	require.Less(t, packed.ContentLength, plain.ContentLength/3)
	require.Equal(t, `"`+saved.ETag+`"`, plain.Header.Get("ETag"))
	require.Equal(t, `"`+saved.ETag+`-gz"`, packed.Header.Get("ETag"))
	for _, res := range []answered{plain, packed} {
		require.Equal(t, "Authorization, Accept-Encoding, Origin", res.Header.Get("Vary"))
	}
	head := alice.send(http.MethodHead, accounts, "", "Accept-Encoding", "gzip").is(http.StatusOK)
	for _, name := range []string{"ETag", "Content-Encoding", "Content-Length"} {
		require.Equal(t, packed.Header.Get(name), head.Header.Get(name), name)
	}
	require.Empty(t, alice.send(http.MethodGet, "/preferences/"+id, "", "Accept-Encoding", "gzip").is(http.StatusOK).Header.Get("Content-Encoding"), "one item is too small")

	for sent, back := range map[string]string{ // to whoever accepts gzip
		`"` + saved.ETag + `-gz"`:                       `"` + saved.ETag + `-gz"`,
		`W/"` + saved.ETag + `-gz"`:                     `"` + saved.ETag + `-gz"`,
		`"` + saved.ETag + `"`:                          `"` + saved.ETag + `"`,
		`"` + saved.ETag + `", "` + saved.ETag + `-gz"`: `"` + saved.ETag + `-gz"`,
		`"other", ` + saved.ETag + `-gz`:                `"` + saved.ETag + `-gz"`,
		`*`:                                             `"` + saved.ETag + `"`,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := alice.send(method, accounts, "", "If-None-Match", sent, "Accept-Encoding", "gzip").is(http.StatusNotModified)
			require.Equal(t, back, res.Header.Get("ETag"), sent)
			require.Empty(t, res.Header.Get("Content-Encoding"))
			res = alice.send(method, accounts, "", "If-None-Match", sent).is(http.StatusNotModified)
			require.Equal(t, `"`+saved.ETag+`"`, res.Header.Get("ETag"), sent)
		}
	}
	w.unchanged(func() {
		for _, tag := range []string{`W/"` + saved.ETag + `-gz"`, `"` + saved.ETag + `-gz-gz"`, `"-gz"`, `"` + saved.ETag + `-br"`} {
			alice.replace(body("z"), "If-Match", tag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
			alice.send(http.MethodGet, accounts, "", "If-Match", tag).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		}
	})
	again := alice.replace(body(many(21)...), "If-Match", `"`+saved.ETag+`-gz"`, "Accept-Encoding", "gzip").is(http.StatusOK)
	require.Equal(t, "gzip", again.Header.Get("Content-Encoding"))
	again.list(http.StatusOK) // a write names the state: header and body have the same tag
	alice.replace(body("z"), "If-Match", `"`+saved.ETag+`-gz"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
}

// TestCase032: gzip is sent to those who take it, by RFC 9110 section 12.5.3.
func TestCase032_GzipIsForThoseWhoTakeIt(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save(many(30)...)
	for sent, packed := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "x-gzip": true, "gzip, deflate, br": true, "br;q=1.0, gzip;q=0.8, *;q=0.1": true,
		"gzip;q=0": false, "gzip;q=0.000": false, "gzip;q=0, *": false, "*": true, "*;q=0": false, "identity": false, "identity, *;q=0": false,
		"deflate": false, "gzip;q=0.5, identity": false, "gzip;q=0.5, identity;q=0.5": true, "gzip;q=0.5, identity;q=0.4": true,
		"gzip; q=0.3": true, "gzip;q=2": false, "gzip;q=-1": false, "gzip;q=": false, "gzip;q=NaN": false, "gzip;x=1": true, "gzipped": false, ",,gzip,": true,
	} {
		res := alice.send(http.MethodGet, accounts, "", "Accept-Encoding", sent).is(http.StatusOK)
		require.Equal(t, packed, res.Header.Get("Content-Encoding") == "gzip", "%q", sent)
	}
	two := alice.send(http.MethodGet, accounts, "", "Accept-Encoding", "br", "Accept-Encoding", "gzip").is(http.StatusOK)
	require.Equal(t, "gzip", two.Header.Get("Content-Encoding"))
	res := alice.send(http.MethodGet, accounts+strings.Repeat("&a=b", 900), "", "Accept-Encoding", "gzip")
	res.fails(http.StatusBadRequest, "INVALID_FIELD")
	require.Empty(t, res.Header.Get("Content-Encoding"), "errors are short")
	spec := caller{world: w}.send(http.MethodGet, "/openapi.yaml", "", "Accept-Encoding", "gzip").is(http.StatusOK)
	require.Equal(t, string(api.OpenAPI), spec.text)
	require.True(t, strings.HasSuffix(spec.Header.Get("ETag"), `-gz"`))
	caller{world: w}.send(http.MethodGet, "/openapi.yaml", "", "Accept-Encoding", "gzip", "If-None-Match", spec.Header.Get("ETag")).is(http.StatusNotModified)
}
