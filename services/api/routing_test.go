package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCase001_AnEncodedColonMeansAColon(t *testing.T) {
	alice := begin(t).as("alice")
	for _, colon := range []string{"%3A", "%3a"} {
		alice.send(http.MethodPut, "/preferences"+colon+"batchReplace", body("a")).list(http.StatusOK)
	}
	require.Equal(t, []string{"a:1"}, alice.read().shown())
}

func TestCase002_AnUnknownVerbIsNotFound(t *testing.T) {
	alice := begin(t).as("alice")
	alice.unchanged(func() {
		for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodPost} {
			alice.send(method, "/preferences:nope", body("a")).fails(http.StatusNotFound, "NOT_FOUND")
		}
	})
}

// TestCase003 and 4, 9, 10: no method reaches another one's handler, and every
// address says exactly what it takes.
func TestCase003_EveryAddressNamesItsMethods(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	it := alice.save("a").Preferences[0]
	for address, allowed := range map[string]string{
		"/preferences":                "OPTIONS, GET, HEAD, POST",
		"/preferences/" + it.ID:       "OPTIONS, DELETE, GET, HEAD, PATCH",
		"/preferences:batchReplace":   "OPTIONS, POST, PUT",
		"/preferences:batchUpdate":    "OPTIONS, PATCH, POST",
		"/preferences:restore":        "OPTIONS, POST",
		"/preferences:cleanOrphaned":  "OPTIONS, POST",
		"/preferences:detectOrphaned": "OPTIONS, GET, HEAD",
		"/preferences:history":        "OPTIONS, GET, HEAD",
		"/auditEvents":                "OPTIONS, GET, HEAD",
		"/status":                     "OPTIONS, GET, HEAD",
		"/openapi.yaml":               "OPTIONS, GET, HEAD",
		"/asyncapi.yaml":              "OPTIONS, GET, HEAD",
		"/info":                       "OPTIONS, GET, HEAD",
		"/schemas/user.deleted/1":     "OPTIONS, GET, HEAD",
		"/docs":                       "OPTIONS, GET, HEAD",
		"/docs/docs.js":               "OPTIONS, GET, HEAD",
	} {
		t.Run(address, func(t *testing.T) {
			w, alice := w.in(t), alice.in(t)
			w.unchanged(func() {
				for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "PROPFIND"} {
					if strings.Contains(allowed, method) {
						continue
					}
					for _, c := range []caller{alice, {world: w}} {
						res := c.send(method, address, body("b"))
						res.fails(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
						require.Equal(t, allowed, res.Header.Get("Allow"))
					}
				}
				res := caller{world: w}.send(http.MethodOptions, address, "").is(http.StatusNoContent)
				require.Equal(t, allowed, res.Header.Get("Allow"))
				require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			})
		})
	}
}

func TestCase004_PuttingAnItemIsNeverASave(t *testing.T) {
	alice := begin(t).as("alice")
	alice.unchanged(func() {
		alice.send(http.MethodPut, "/preferences/pref-001", body("a")).fails(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	})
}

func TestCase005_CleanIsReachedByItsOwnName(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a", "b")
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"a","entityType":"account"}`).is(http.StatusOK)
	require.Equal(t, []string{"b:1"}, w.as("alice").read().shown())
	w.system().send(http.MethodPost, bulkPath, `{"entities":[]}`).fails(http.StatusBadRequest, "INVALID_FIELD", "entities")
}

func TestCase006_ASlashAtTheEndIsAnotherAddress(t *testing.T) {
	alice := begin(t).as("alice")
	alice.unchanged(func() {
		for _, x := range []struct{ method, address string }{
			{http.MethodGet, "/preferences/"},
			{http.MethodPut, "/preferences/"},
			{http.MethodPut, "/preferences:batchReplace/"},
			{http.MethodPost, "/preferences:cleanOrphaned/"},
			{http.MethodGet, "/openapi.yaml/"},
		} {
			alice.send(x.method, x.address, body("a")).fails(http.StatusNotFound, "NOT_FOUND")
		}
	})
}

func TestCase007_WhatIsNoIDIsNotFound(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.save("a").Preferences[0]
	unknown := alice.send(http.MethodGet, "/preferences/0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", "", "X-Request-Id", "same")
	unknown.fails(http.StatusNotFound, "NOT_FOUND")
	alice.unchanged(func() {
		for _, id := range []string{
			"pref-001", "a/b", "a%2Fb", "%00", it.ID + "/", it.ID + "%2F", it.ID + "%00", "%2F" + it.ID, "x/" + it.ID,
			"urn:uuid:" + it.ID, "{" + it.ID + "}", strings.ReplaceAll(it.ID, "-", ""), "..%2f" + it.ID, "%C3%28", strings.Repeat("a", 4000),
			it.ID + ":batchReplace",
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodDelete} {
				res := alice.send(method, "/preferences/"+id, `{}`, "X-Request-Id", "same")
				res.fails(http.StatusNotFound, "NOT_FOUND")
				if method != http.MethodHead {
					require.Equal(t, unknown.text, res.text)
				}
			}
		}
	})
	require.Equal(t, it.ID, alice.send(http.MethodGet, "/preferences/"+strings.ToUpper(it.ID), "").item(http.StatusOK).ID)
}

func TestCase008_HeadIsGetWithoutBody(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.save("a", "b").Preferences[0]
	for _, address := range []string{accounts, accounts + "&pageSize=1", "/preferences/" + it.ID} {
		get, head := alice.send(http.MethodGet, address, "").is(http.StatusOK), alice.send(http.MethodHead, address, "").is(http.StatusOK)
		require.Empty(t, head.text)
		for _, name := range []string{"ETag", "Cache-Control", "Vary", "Content-Type", "Content-Length"} {
			require.Equal(t, get.Header.Get(name), head.Header.Get(name), name)
		}
		alice.send(http.MethodHead, address, "", "If-None-Match", get.Header.Get("ETag")).is(http.StatusNotModified)
		alice.send(http.MethodHead, address, "", "If-Match", `"other"`).fails(http.StatusPreconditionFailed, "")
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			alice.send(method, address, "", "If-Match", `"other`).fails(http.StatusBadRequest, "MALFORMED_PRECONDITION")
		}
	}
}

func TestCase010_LowerCaseGetIsAnotherMethod(t *testing.T) {
	w := begin(t)
	for _, method := range []string{"get", "Get"} {
		status := raw(t, w.url, method+" /preferences?domain=accounts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.Contains(t, status, " 405 ")
		require.Contains(t, status, "\r\nAllow: OPTIONS, GET, HEAD, POST\r\n")
	}
}

func TestCase011_AnAbsoluteTargetWorks(t *testing.T) {
	w := begin(t)
	u, err := url.Parse(w.url)
	require.NoError(t, err)
	res := raw(t, w.url, "GET http://"+u.Host+accounts+" HTTP/1.1\r\nHost: "+u.Host+"\r\nAuthorization: Bearer "+token(t, "alice")+"\r\nConnection: close\r\n\r\n")
	require.Contains(t, res, "HTTP/1.1 200 OK\r\n")
	require.Contains(t, res, `"totalSize":0`)
}

func TestCase012_AnUnknownAddressNeedsNoToken(t *testing.T) {
	nobody := caller{world: begin(t)}
	for _, address := range []string{"/", "/nope", "/livez", "/metrics", "/preference", "/preferences.json"} {
		nobody.send(http.MethodGet, address, "").fails(http.StatusNotFound, "NOT_FOUND")
	}
}
