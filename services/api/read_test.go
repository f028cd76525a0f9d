package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCase023_AListNeverSavedIsEmpty(t *testing.T) {
	alice := begin(t).as("alice")
	alice.unchanged(func() {
		res := alice.send(http.MethodGet, accounts, "")
		l := res.list(http.StatusOK)
		require.Equal(t, 0, l.TotalSize)
		require.Contains(t, res.text, `"preferences":[],"nextPageToken":null,"totalSize":0,`)
		require.Len(t, l.ETag, 16)
		require.Equal(t, "private, max-age=300", res.Header.Get("Cache-Control"))
		require.Equal(t, "Authorization, Accept-Encoding, Origin", res.Header.Get("Vary"))
	})
}

// notModified expects a 304 with all that the 200 would have said in headers.
func (a answered) notModified(tag string) {
	a.t.Helper()
	a.is(http.StatusNotModified)
	require.Empty(a.t, a.text)
	require.Equal(a.t, `"`+tag+`"`, a.Header.Get("ETag"))
	require.Equal(a.t, "private, max-age=300", a.Header.Get("Cache-Control"))
	require.Equal(a.t, "Authorization, Accept-Encoding, Origin", a.Header.Get("Vary"))
	require.Empty(a.t, a.Header.Values("Content-Type"))
	date, err := http.ParseTime(a.Header.Get("Date"))
	require.NoError(a.t, err)
	require.WithinDuration(a.t, time.Now(), date, time.Minute)
}

// TestCase024 to 28: If-None-Match by RFC 9110, for lists and items.
func TestCase024_WhoHasTheTagGetsNothingNew(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	l := alice.save("a", "b")
	for address, tag := range map[string]string{
		accounts: l.ETag, accounts + "&pageSize=1&sortBy=entityId": l.ETag, "/preferences/" + l.Preferences[0].ID: l.Preferences[0].ETag,
	} {
		for name, c := range map[string]struct {
			sent []string
			same bool
		}{
			"the tag":                   {[]string{"If-None-Match", `"` + tag + `"`}, true},
			"case 25: weak":             {[]string{"If-None-Match", `W/"` + tag + `"`}, true},
			"case 26: second of a list": {[]string{"If-None-Match", `"x", "` + tag + `"`}, true},
			"second of two lines":       {[]string{"If-None-Match", `"x"`, "If-None-Match", `"` + tag + `"`}, true},
			"case 27: anything":         {[]string{"If-None-Match", `*`}, true},
			"case 28: empty":            {[]string{"If-None-Match", ``}, false},
			"bare":                      {[]string{"If-None-Match", tag}, true},
			"another":                   {[]string{"If-None-Match", `"x"`}, false},
			"with If-Match":             {[]string{"If-Match", tag, "If-None-Match", tag}, true},
			"only If-Match":             {[]string{"If-Match", tag}, false},
		} {
			t.Run(name+" "+address, func(t *testing.T) {
				res := alice.in(t).send(http.MethodGet, address, "", c.sent...)
				if c.same {
					res.notModified(tag)
					return
				}
				require.Contains(t, res.is(http.StatusOK).text, `"etag":"`+tag+`"`)
			})
		}
	}
}

func TestCase029_TagsOfTwoUsersNeverAgree(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	nobodys := alice.read().ETag
	require.NotEqual(t, nobodys, bob.read().ETag, "lists that were never saved")
	bob.send(http.MethodGet, accounts, "", "If-None-Match", nobodys).is(http.StatusOK)
	hers, his := alice.save("a"), bob.save("a")
	require.NotEqual(t, hers.ETag, his.ETag)
	require.Equal(t, his.ETag, bob.send(http.MethodGet, accounts, "", "If-None-Match", hers.ETag).list(http.StatusOK).ETag)
}

func TestCase030_AStaleIfMatchIsJudgedFirst(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a")
	for address, tag := range map[string]string{accounts: l.ETag, "/preferences/" + l.Preferences[0].ID: l.Preferences[0].ETag} {
		res := alice.send(http.MethodGet, address, "", "If-Match", `"stale"`, "If-None-Match", tag)
		p := res.fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		require.Equal(t, tag, p.Error.Details.CurrentETag)
		require.Equal(t, "stale", p.Error.Details.ProvidedETag)
		require.Equal(t, `"`+tag+`"`, res.Header.Get("ETag"))
	}
}

func TestCase033_ARangeIsIgnored(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("a")
	res := alice.send(http.MethodGet, accounts, "", "Range", "bytes=0-1").is(http.StatusOK)
	require.Contains(t, res.text, `"entityId":"a"`)
	require.Empty(t, res.Header.Get("Content-Range"))
}

// TestCase034 and 35: a domain is named once, and is one of those that are
// configured.
func TestCase034_ADomainMustBeKnown(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	for name, query := range map[string]string{
		"missing": "", "empty": "?domain=", "64 characters": "?domain=" + strings.Repeat("a", 64), "upper case": "?domain=Accounts",
		"NUL": "?domain=accounts%00", "not UTF-8": "?domain=%FF", "case 35: not configured": "?domain=contacts", "blank": "?domain=accounts%20",
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range [][]string{nil, {"If-None-Match", "*"}} {
				res := alice.in(t).send(http.MethodGet, "/preferences"+query, "", h...)
				p := res.fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
				require.Contains(t, p.Error.Message, "accounts")
			}
		})
	}
	alice.send(http.MethodGet, accounts+"&domain=accounts", "").fails(http.StatusBadRequest, "INVALID_FIELD", "domain")
	alice.unchanged(func() {
		alice.replace(`{"domain":"contacts","preferences":[]}`).fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
		alice.replace(`{"preferences":[]}`).fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
		alice.send(http.MethodPost, "/preferences", `{"entityId":"a"}`).fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	})
}

// TestCase036 to 38: how a list can be sorted and cut.
func TestCase036_SortsAndSizesAreChecked(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save(many(5)...)
	for name, c := range map[string]struct{ query, field string }{
		"case 36: statement":       {"sortBy=" + url.QueryEscape("order;drop table preferences"), "sortBy"},
		"case 36: quotes":          {"sortBy=" + url.QueryEscape(`"order"`), "sortBy"},
		"case 36: attributes":      {"sortBy=attributes", "sortBy"},
		"case 36: upper case":      {"sortBy=Order", "sortBy"},
		"case 36: empty":           {"sortBy=", "sortBy"},
		"case 37: up":              {"sortOrder=up", "sortOrder"},
		"case 37: upper case":      {"sortOrder=ASC", "sortOrder"},
		"case 37: empty":           {"sortOrder=", "sortOrder"},
		"case 38: below 0":         {"pageSize=-1", "pageSize"},
		"case 38: text":            {"pageSize=abc", "pageSize"},
		"case 38: fraction":        {"pageSize=1.5", "pageSize"},
		"case 38: more than int64": {"pageSize=100000000000000000000", "pageSize"},
		"case 38: empty":           {"pageSize=", "pageSize"},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			alice.unchanged(func() {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					alice.send(method, accounts+"&"+c.query, "").is(http.StatusBadRequest)
				}
				p := alice.send(http.MethodGet, accounts+"&"+c.query, "", "If-None-Match", "*").fails(http.StatusBadRequest, "INVALID_FIELD", c.field)
				if c.field == "sortBy" {
					require.Contains(t, p.Error.Details.FieldViolations[0].Description, "order, createTime, updateTime, entityId")
				}
			})
		})
	}
	alice.send(http.MethodGet, accounts+"&pageSize=&sortBy=&sortOrder=", "").fails(http.StatusBadRequest, "INVALID_FIELD", "pageSize", "sortBy", "sortOrder")
	alice.send(http.MethodGet, accounts+"&pageSize=x&sortBy=x&sortOrder=x", "").fails(http.StatusBadRequest, "INVALID_FIELD", "pageSize", "sortBy", "sortOrder")
	l := alice.send(http.MethodGet, accounts+"&sortBy=entityId&sortOrder=desc", "").list(http.StatusOK)
	require.Equal(t, []string{"e-5:5", "e-4:4", "e-3:3", "e-2:2", "e-1:1"}, l.shown())
}

func TestCase038_NoSizeIsTheWholeListAndSoIsMoreThanThat(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(1000)...)
	for _, query := range []string{"", "&pageSize=0", "&pageSize=5000", "&pageSize=2147483647", "&pageToken="} {
		l := alice.send(http.MethodGet, accounts+query, "").list(http.StatusOK)
		require.Len(t, l.Preferences, 1000, query)
		require.Nil(t, l.NextPageToken)
	}
}

func TestCase044_AQueryThatCannotBeReadIsRefused(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("a").Preferences[0].ID
	w.unchanged(func() {
		for _, query := range []string{"a=%zz", "a;b", "%", "a=1;b=2"} {
			alice.send(http.MethodGet, accounts+"&"+query, "").fails(http.StatusBadRequest, "INVALID_FIELD", "query")
			alice.send(http.MethodDelete, "/preferences/"+id+"?"+query, "").fails(http.StatusBadRequest, "INVALID_FIELD", "query")
		}
	})
}

// TestUnknownParametersAreRefused: one that is misspelt, or of a release to
// come, would silently change what a request means.
func TestUnknownParametersAreRefused(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("a").Preferences[0].ID
	w.unchanged(func() {
		for _, name := range []string{"validateOnly", "sortby", "force", "page"} {
			p := alice.send(http.MethodGet, accounts+"&"+name+"=x", "").fails(http.StatusBadRequest, "INVALID_FIELD", name)
			require.Contains(t, p.Error.Details.FieldViolations[0].Description, "domain, sortBy, sortOrder, pageSize, pageToken, filter, fields, syncToken, minVersion, userId")
		}
		p := alice.send(http.MethodPut, "/preferences:batchReplace?dryRun=true", body("b")).fails(http.StatusBadRequest, "INVALID_FIELD", "dryRun")
		require.Contains(t, p.Error.Details.FieldViolations[0].Description, "known are force, validateOnly")
		alice.send(http.MethodPatch, "/preferences/"+id+"?domain=accounts", `{"order":1}`).fails(http.StatusBadRequest, "INVALID_FIELD", "domain")
		alice.send(http.MethodDelete, "/preferences/"+id+"?force=true", "").fails(http.StatusBadRequest, "INVALID_FIELD", "force")
		alice.send(http.MethodPost, "/preferences?x=1&y=2", `{"domain":"accounts","entityId":"b"}`).fails(http.StatusBadRequest, "INVALID_FIELD", "x", "y")
		w.system().send(http.MethodPost, "/preferences:cleanOrphaned?force=true", `{"entityId":"a","entityType":"account"}`).fails(http.StatusBadRequest, "INVALID_FIELD", "force")
	})
}
