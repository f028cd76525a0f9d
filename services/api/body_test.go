package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writes are one request to each route with a body.
func (w *world) writes(id string) map[string]write {
	w.Helper()
	alice, system := w.as("alice"), w.system()
	return map[string]write{
		"replace":         {alice, http.MethodPut, "/preferences:batchReplace"},
		"replace by POST": {alice, http.MethodPost, "/preferences:batchReplace"},
		"batch":           {alice, http.MethodPatch, "/preferences:batchUpdate"},
		"batch by POST":   {alice, http.MethodPost, "/preferences:batchUpdate"},
		"restore":         {alice, http.MethodPost, "/preferences:restore"},
		"create":          {alice, http.MethodPost, "/preferences"},
		"patch":           {alice, http.MethodPatch, "/preferences/" + id},
		"clean":           {system, http.MethodPost, "/preferences:cleanOrphaned"},
		"bulk clean":      {system, http.MethodPost, bulkPath},
	}
}

// write is a route with a body, and somebody who may use it.
type write struct {
	caller caller
	method string
	target string
}

func (w write) send(t *testing.T, body io.Reader, h ...string) answered {
	t.Helper()
	return w.caller.in(t).sendReader(w.method, w.target, body, h...)
}

const maxBody = 1 << 20

func TestCase064_ABodyOverOneMiBIsRefused(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("kept").Preferences[0].ID
	good := map[string]string{
		"replace": body("a"), "replace by POST": body("a"), "batch": `{"domain":"accounts","updates":[]}`, "batch by POST": `{"domain":"accounts","updates":[]}`, "restore": `{"domain":"accounts","version":1}`, "create": `{"domain":"accounts","entityId":"a"}`, "patch": `{"attributes":{"a":1}}`, "clean": `{"entityId":"a","entityType":"account"}`,
		"bulk clean": entities("a"),
	}
	for name, route := range w.writes(id) {
		spaces := strings.Repeat(" ", maxBody-len(good[name]))
		for how, b := range map[string]io.Reader{
			"by length":          strings.NewReader(good[name] + spaces + " "),
			"by trailing spaces": io.MultiReader(strings.NewReader(good[name]), strings.NewReader(spaces+" ")), // of unknown length
			"by chunks":          io.LimitReader(letters{}, 2*maxBody),
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				w.in(t).unchanged(func() {
					res := route.send(t, b)
					res.fails(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
					require.True(t, res.Close, "the connection must be closed")
				})
			})
		}
		t.Run(name+" of exactly that size", func(t *testing.T) {
			require.NotEqual(t, http.StatusRequestEntityTooLarge, route.send(t, strings.NewReader(good[name]+spaces)).StatusCode)
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		caller{world: w}.send(method, "/preferences/"+id, strings.Repeat(" ", maxBody+1)).fails(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
	}
}

// letters is an endless body.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestCase065_WhatIsNotOneObjectIsRefused(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("kept").Preferences[0].ID
	for why, text := range map[string]string{
		"empty": "", "blank": " \n", "cut off": `{`, "two values": `{} {}`, "comma behind": `{},`, "mark": "\ufeff{}", "single quotes": `{'a':1}`, "comment": `{/*a*/}`,
	} {
		for name, route := range w.writes(id) {
			t.Run(name+" "+why, func(t *testing.T) {
				w.in(t).unchanged(func() { route.send(t, strings.NewReader(text)).fails(http.StatusBadRequest, "INVALID_JSON", "$") })
			})
		}
	}
	for why, text := range map[string]string{"null": "null", "array": "[]", "text": `"x"`, "number": "1", "true": "true"} {
		for name, route := range w.writes(id) {
			t.Run(name+" "+why, func(t *testing.T) {
				w.in(t).unchanged(func() { route.send(t, strings.NewReader(text)).fails(http.StatusBadRequest, "INVALID_FIELD", "$") })
			})
		}
	}
}

func TestCase066_OtherMediaTypesAreRefused(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("kept").Preferences[0].ID
	for name, route := range w.writes(id) {
		for why, h := range map[string][]string{
			"none": {"Content-Type", "-"}, "form": {"Content-Type", "application/x-www-form-urlencoded"}, "text": {"Content-Type", "text/plain"},
			"latin1": {"Content-Type", "application/json; charset=iso-8859-1"}, "broken": {"Content-Type", "application/json; charset"},
			"two": {"Content-Type", "application/json", "Content-Type", "application/json"}, "json-patch": {"Content-Type", "application/json-patch+json"},
			"multipart": {"Content-Type", "multipart/form-data; boundary=x"}, "prefix": {"Content-Type", "application/jsonx"}, "list": {"Content-Type", "application/json, text/plain"},
		} {
			t.Run(name+" "+why, func(t *testing.T) {
				w.in(t).unchanged(func() {
					res := route.send(t, strings.NewReader(`{}`), h...)
					res.fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
					if name == "batch" {
						require.Equal(t, "application/json", res.Header.Get("Accept-Patch"))
						return
					}
					if name == "patch" {
						require.Equal(t, "application/merge-patch+json, application/json", res.Header.Get("Accept-Patch"))
						return
					}
					require.Equal(t, "application/json", res.Header.Get("Accept"))
				})
			})
		}
	}
	for _, good := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON", `application/json; charset="utf-8"`} {
		w.as("alice").replace(body("kept"), "Content-Type", good).is(http.StatusOK)
	}
}

func TestCase067_CompressedBodiesAreRefused(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("kept").Preferences[0].ID
	for _, route := range w.writes(id) {
		for _, coding := range []string{"gzip", "br", "identity, gzip"} {
			w.unchanged(func() {
				res := route.send(t, strings.NewReader(`{}`), "Content-Encoding", coding)
				res.fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
				require.Equal(t, "identity", res.Header.Get("Accept-Encoding"))
			})
		}
	}
	w.as("alice").replace(body("kept"), "Content-Encoding", "identity").is(http.StatusOK)
}

// TestBodiesThatNoColumnTakes: all that would be an error of the database, or
// would come back other than it was sent.
func TestBodiesThatNoColumnTakes(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("kept").Preferences[0].ID
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) }
	deepArray := func(n int) string { return `{"a":` + strings.Repeat(`[`, n) + strings.Repeat(`]`, n) + `}` }
	keys := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"k%d":1`, i)
		}
		return `{` + strings.Join(names, ",") + `}`
	}
	for name, c := range map[string]struct{ attributes, code string }{
		"case 68: NUL in a value":       {`{"a":"x\u0000y"}`, "INVALID_JSON"},
		"case 68: NUL in a name":        {`{"a\u0000":1}`, "INVALID_JSON"},
		"case 69: byte FF":              {"{\"a\":\"\xff\"}", "INVALID_JSON"},
		"case 69: byte FF in a name":    {"{\"\xff\":1}", "INVALID_JSON"},
		"case 69: overlong":             {"{\"a\":\"\xc0\xaf\"}", "INVALID_JSON"},
		"case 70: lone surrogate":       {`{"a":"\ud800"}`, "INVALID_JSON"},
		"case 70: lone low surrogate":   {`{"a":"\udc00x"}`, "INVALID_JSON"},
		"case 70: raw surrogate":        {"{\"a\":\"\xed\xa0\x80\"}", "INVALID_JSON"},
		"case 71: name twice":           {`{"a":1,"a":2}`, "INVALID_JSON"},
		"case 71: name twice, escaped":  {`{"a":1,"\u0061":2}`, "INVALID_JSON"},
		"case 71: name twice, deep":     {`{"x":[{"a":1,"a":1}]}`, "INVALID_JSON"},
		"case 72: depth 17":             {deep(17), "INVALID_JSON"},
		"case 72: depth 17 of arrays":   {deepArray(16), "INVALID_JSON"},
		"case 72: depth 10,000":         {deep(10_000), "INVALID_JSON"},
		"case 72: depth 100,000":        {deepArray(100_000), "INVALID_JSON"},
		"case 72: depth 1,000,000":      {strings.Repeat("[", 1_000_000), "INVALID_JSON"},
		"case 73: 16 KiB and 1":         {`{"a":"` + strings.Repeat("x", 16<<10-7) + `"}`, "INVALID_FIELD"},
		"case 73: 257 names":            {keys(257), "INVALID_FIELD"},
		"case 73: name of 129":          {`{"` + strings.Repeat("k", 129) + `":1}`, "INVALID_FIELD"},
		"case 74: 1e131071":             {`{"a":1e131071}`, "INVALID_FIELD"},
		"case 74: 1e400":                {`{"a":1e400}`, "INVALID_FIELD"},
		"case 74: -1e400":               {`{"a":[-1e400]}`, "INVALID_FIELD"},
		"case 74: 1e-400":               {`{"a":1e-400}`, "INVALID_FIELD"},
		"case 74: 2^53+1":               {`{"a":9007199254740993}`, "INVALID_FIELD"},
		"case 74: many digits":          {`{"a":0.1234567890123456789}`, "INVALID_FIELD"},
		"case 74: number bomb":          {`{"a":[` + strings.TrimSuffix(strings.Repeat("1e300,", 100), ",") + `]}`, "INVALID_FIELD"},
		"number with a leading zero":    {`{"a":01}`, "INVALID_JSON"},
		"not a number":                  {`{"a":NaN}`, "INVALID_JSON"},
		"control character in a string": {"{\"a\":\"\n\"}", "INVALID_JSON"},
	} {
		for route, send := range map[string]func(caller) answered{
			"replace": func(alice caller) answered {
				return alice.replace(items0(`{"entityId":"a","attributes":` + c.attributes + `}`))
			},
			"create": func(alice caller) answered {
				return alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a","attributes":`+c.attributes+`}`)
			},
			"patch": func(alice caller) answered {
				return alice.send(http.MethodPatch, "/preferences/"+id, `{"attributes":`+c.attributes+`}`)
			},
		} {
			t.Run(route+" "+name, func(t *testing.T) {
				w.in(t).unchanged(func() {
					began := time.Now()
					send(alice.in(t)).fails(http.StatusBadRequest, c.code)
					require.Less(t, time.Since(began), 5*time.Second)
				})
			})
		}
	}
	for _, text := range []string{body("a\xff"), `{"domain":"accounts","preferences":[{"entityId":"a\u0000"}]}`, `{"domain":"\ud800","preferences":[]}`, `{"domain":"accounts","domain":"accounts","preferences":[]}`} {
		w.unchanged(func() { alice.replace(text).fails(http.StatusBadRequest, "INVALID_JSON") })
	}
}

// TestAttributesComeBackAsTheyWere: what is taken is never rounded, cut or
// normalised, in the answer to the write and in every later read.
func TestAttributesComeBackAsTheyWere(t *testing.T) {
	alice := begin(t).as("alice")
	for name, attributes := range map[string]string{
		"case 73: exactly 16 KiB": `{"a": "` + strings.Repeat("x", 16<<10-9) + `"}`,
		"case 73: name of 128":    `{"` + strings.Repeat("é", 128) + `": 1}`,
		"case 74: 2^53":           `{"a": 9007199254740992}`,
		"case 74: small and big":  `{"a": [0.1, 1e21, -1e-7, 123456789012345, 0, -0]}`,
		"case 76: __proto__":      `{"__proto__": {"x": 1}, "constructor": null, "": 2}`,
		"case 77: decomposed":     `{"a": "e` + "\u0301" + `", "b": "` + "\u00e9" + `"}`,
		"escapes":                 `{"a": "\"\\\/\b\f\n\r\t\u0001\u007f\u2028 <&> 🎉 \ud83c\udf89"}`,
		"nested":                  `{"a": {"b": [1, [2, {"c": null}], true]}, "z": []}`,
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			save := alice.replace(items0(`{"entityId":"a","attributes":` + attributes + `}`)).list(http.StatusOK)
			got := alice.read()
			require.Equal(t, save.Preferences, got.Preferences)
			require.JSONEq(t, attributes, string(got.Preferences[0].Attributes))
			var before, after any
			require.NoError(t, json.Unmarshal([]byte(attributes), &before))
			require.NoError(t, json.Unmarshal(got.Preferences[0].Attributes, &after))
			require.Equal(t, before, after)
			it := alice.send(http.MethodGet, "/preferences/"+got.Preferences[0].ID, "").item(http.StatusOK)
			require.Equal(t, got.Preferences[0], it)
		})
	}
}

func TestCase075_AnotherSpellingIsNoChange(t *testing.T) {
	alice := begin(t).as("alice")
	first := alice.replace(items0(`{"entityId":"a","attributes":{"n":1.0,"m":100,"b":{"y":1,"x":2}}}`)).list(http.StatusOK)
	alice.unchanged(func() {
		again := alice.replace(items0(`{"entityId":"a","attributes":{"b":{"x":2,"y":1.0},"m":1e2,"n":1}}`)).list(http.StatusOK)
		require.Equal(t, first.ETag, again.ETag)
		require.Equal(t, summary{Total: 1}, *again.Summary)
	})
}

// TestAConditionThatIsNotKnownIsRefused: the writer would believe to be
// protected by it.
func TestAConditionThatIsNotKnownIsRefused(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("kept").Preferences[0].ID
	w.unchanged(func() {
		for _, route := range w.writes(id) {
			route.send(t, strings.NewReader(`{}`), "If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT").
				fails(http.StatusBadRequest, "INVALID_FIELD", "If-Unmodified-Since")
		}
	})
}
