package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Addresses of what has happened.
const (
	history = "/preferences:history?domain=accounts"
	trail   = "/auditEvents?startTime=2026-01-01T00:00:00Z&endTime=2026-01-31T00:00:00Z"
)

// told is an entry of the history or of the audit events.
type told struct {
	Type, UserID, Domain, Action, Actor, RequestID, Operation, State string
	Version                                                          int
	Time                                                             time.Time
	Forced, Gaps                                                     bool
	Delta                                                            json.RawMessage
	Request                                                          map[string]any
}

type story struct {
	Changes, AuditEvents []told
	NextPageToken        *string
}

// story reads a page of what has happened.
func (c caller) story(address string) (s story) {
	c.Helper()
	res := c.send(http.MethodGet, address, "").is(http.StatusOK)
	require.Equal(c, "no-store", res.Header.Get("Cache-Control"))
	res.into(&s)
	return s
}

func TestHistoryTellsEveryVersionNewestFirst(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	require.JSONEq(t, `{"changes":[],"nextPageToken":null}`, alice.send(http.MethodGet, history, "").is(http.StatusOK).text)

	l := alice.save("a", "b")
	alice.send(http.MethodPatch, "/preferences/"+l.find("b").ID, `{"attributes":{"x":"<1>"},"order":1}`, "X-Request-Id", "r-2").item(http.StatusOK)
	alice.send(http.MethodPut, "/preferences:batchReplace?force=true", body("b"), "If-Match", `"stale"`).list(http.StatusOK)
	alice.send(http.MethodPut, "/preferences:batchReplace", body("b")).list(http.StatusOK) // changes nothing, and is not told
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"b","entityType":"account","reorder":false}`).is(http.StatusOK)

	s := alice.story(history)
	require.Nil(t, s.NextPageToken)
	require.Len(t, s.Changes, 4)
	clean, save, patch, first := s.Changes[0], s.Changes[1], s.Changes[2], s.Changes[3]
	require.Equal(t, []int{4, 3, 2, 1}, []int{clean.Version, save.Version, patch.Version, first.Version})
	require.Equal(t, []string{"clean", "replace", "update", "replace"}, []string{clean.Action, save.Action, patch.Action, first.Action})
	require.Equal(t, clean.Operation, strings.Replace(clean.Actor, "operation:", "operations/", 1))
	require.NotEmpty(t, clean.Operation)
	require.True(t, clean.Gaps)
	require.Equal(t, []bool{false, true, false, false}, []bool{clean.Forced, save.Forced, patch.Forced, first.Forced})
	require.Equal(t, "alice", patch.Actor)
	require.Equal(t, "r-2", patch.RequestID)
	require.Empty(t, patch.Operation)
	require.JSONEq(t, `{"updated":[{"entityId":"b","order":[2,1],"attributes":[{},{"x":"<1>"}]}]}`, string(patch.Delta))
	require.True(t, save.Time.After(patch.Time) && patch.Time.After(first.Time))

	require.Empty(t, w.as("bob").story(history).Changes, "the history of a list is its owner's")
	require.Len(t, w.admin().story(history+"&userId=alice").Changes, 4)
	w.as("bob").send(http.MethodGet, history+"&userId=alice", "").fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
	w.as("bob").send(http.MethodHead, history+"&userId=alice", "").fails(http.StatusForbidden, "")
}

func TestHistoryComesInPages(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	id := alice.save("a").Preferences[0].ID
	for i := range 10 {
		alice.send(http.MethodPatch, "/preferences/"+id, `{"attributes":{"n":`+strconv.Itoa(i)+`}}`).item(http.StatusOK)
	}
	var versions []int
	tokens := []string{""}
	for size := 1; ; size++ { // the size may change
		token := tokens[len(tokens)-1]
		s := alice.story(history + "&pageSize=" + strconv.Itoa(size) + "&pageToken=" + token)
		require.LessOrEqual(t, len(s.Changes), size)
		for _, c := range s.Changes {
			versions = append(versions, c.Version)
		}
		if s.NextPageToken == nil {
			break
		}
		alice.send(http.MethodPatch, "/preferences/"+id, `{"attributes":{"later":`+strconv.Itoa(size)+`}}`).item(http.StatusOK)
		tokens = append(tokens, *s.NextPageToken)
	}
	require.Equal(t, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, versions, "what is added meanwhile is not on later pages")

	alter := func(token string) string { return "A" + token[1:] }
	listToken := *alice.pageOfTwo().NextPageToken
	for _, x := range []struct {
		c       caller
		address string
	}{
		{w.as("bob"), history + "&pageToken=" + tokens[1]},
		{w.admin(), history + "&userId=bob&pageToken=" + tokens[1]},
		{alice, history + "&pageToken=" + alter(tokens[1])},
		{alice, history + "&pageToken=x"},
		{alice, history + "&pageToken=" + listToken},
		{w.admin(), trail + "&pageToken=" + tokens[1]},
	} {
		x.c.send(http.MethodGet, x.address, "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	}
	require.Len(t, w.admin().story(history+"&userId=alice&pageToken="+tokens[1]).Changes, 10)
	for query, field := range map[string]string{"&pageSize=-1": "pageSize", "&pageSize=x": "pageSize", "&sortBy=order": "sortBy", "&filter=x": "filter"} {
		alice.send(http.MethodGet, history+query, "").fails(http.StatusBadRequest, "INVALID_FIELD", field)
	}
	alice.send(http.MethodHead, history+"&pageSize=x", "").fails(http.StatusBadRequest, "")
	alice.send(http.MethodGet, "/preferences:history?domain=contacts", "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	alice.send(http.MethodGet, "/preferences:history", "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	get, head := alice.send(http.MethodGet, history, ""), alice.send(http.MethodHead, history, "").is(http.StatusOK)
	require.Equal(t, get.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
}

func (c caller) pageOfTwo() list {
	c.Helper()
	c.as("carol").save("a", "b", "c")
	return c.as("carol").page("", 2, "")
}

// age moves what has happened so far to a day in January: version by version a
// minute apart, operations beside them.
func (w *world) age() {
	w.Helper()
	for _, statement := range []string{
		`update changes set changed_at = timestamptz '2026-01-10' + version * interval '1 minute' + list_id * interval '1 second'`,
		`update preference_lists l set updated_at = (select max(changed_at) from changes c where c.list_id = l.list_id)`,
		`update operations set created_at = timestamptz '2026-01-10' + interval '90 seconds'`,
	} {
		_, err := w.db.ExecContext(w.Context(), statement)
		require.NoError(w, err)
	}
}

func TestAuditEventsTellWhoChangedWhat(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	w.as("alice").save("a", "b")
	w.as("bob").save("b")
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"b","entityType":"account"}`).is(http.StatusOK)
	admin := w.admin()
	recent := admin.story("/auditEvents?startTime=" + url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)))
	require.Len(t, recent.AuditEvents, 6)
	newest := func(s story) (out []string) {
		for i, e := range s.AuditEvents {
			require.True(t, i == 0 || !e.Time.After(s.AuditEvents[i-1].Time), "newest first")
			out = append(out, e.Type+" "+e.UserID+" "+e.Action+" "+strconv.Itoa(e.Version))
		}
		return out
	}
	w.age()
	want := []string{
		"listChanged alice clean 3", "listChanged bob clean 2", "listChanged alice replace 2", "operationCalled  cleanEntity 0",
		"listChanged bob replace 1", "listChanged alice replace 1",
	}
	require.Equal(t, want, newest(admin.story(trail)))
	for _, size := range []int{1, 2, 3, 5, 6} {
		var all []string
		for token := ""; ; {
			s := admin.story(trail + "&pageSize=" + strconv.Itoa(size) + "&pageToken=" + token)
			require.LessOrEqual(t, len(s.AuditEvents), size)
			all = append(all, newest(s)...)
			if s.NextPageToken == nil {
				break
			}
			token = *s.NextPageToken
		}
		require.Equal(t, want, all, "in pages of %d", size)
	}
	operation := admin.story(trail).AuditEvents[3]
	require.Equal(t, "svc", operation.Actor)
	require.Equal(t, "succeeded", operation.State)
	require.Equal(t, "b", operation.Request["entityId"])
	clean := admin.story(trail).AuditEvents[0]
	require.Equal(t, operation.Operation, clean.Operation)
	require.JSONEq(t, `{"removed":[`+string(removed(t, clean.Delta))+`]}`, string(clean.Delta))

	only := func(query string) []string { return newest(admin.story("/auditEvents?" + query)) }
	const january = "startTime=2026-01-01T00:00:00Z&endTime=2026-01-31T00:00:00Z"
	require.Equal(t, []string{want[0], want[2], want[5]}, only("userId=alice"))
	require.Equal(t, []string{want[2], want[5]}, only("userId=alice&actor=alice"))
	require.Equal(t, []string{want[2]}, only("userId=alice&startTime=2026-01-10T00:02:00Z&endTime=2026-01-10T00:03:00Z"))
	require.Equal(t, []string{want[3]}, only(january+"&actor=svc"))
	require.Equal(t, []string{want[4]}, only(january+"&actor=bob"))
	require.Equal(t, []string{want[0], want[1], want[2], want[4], want[5]}, only(january+"&domain=accounts"))
	require.Equal(t, []string{want[0], want[1]}, only(january+"&actor="+url.QueryEscape(clean.Actor)))
	require.Equal(t, []string{want[2], want[3], want[4], want[5]}, only("startTime=2026-01-10T01:01:00%2B01:00&endTime=2026-01-10T00:02:02Z"), "the end does not belong to a range")
	require.Empty(t, only("userId=nobody"))
	require.Empty(t, only("startTime=2026-01-11T00:00:00Z&endTime=2026-01-12T00:00:00Z"))
}

// removed returns what a delta removed.
func removed(t *testing.T, delta json.RawMessage) json.RawMessage {
	t.Helper()
	var d struct{ Removed []json.RawMessage }
	require.NoError(t, json.Unmarshal(delta, &d))
	require.Len(t, d.Removed, 1)
	return d.Removed[0]
}

func TestAuditEventsAreForAdministrators(t *testing.T) {
	w := begin(t)
	for _, c := range []caller{w.as("alice"), w.system()} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := c.send(method, trail, "")
			res.fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
			require.Contains(t, res.Header.Get("WWW-Authenticate"), `scope="preferences.admin"`)
		}
	}
	w.admin().send(http.MethodHead, trail, "").is(http.StatusOK)
}

func TestAuditQueriesAreChecked(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	w.as("alice").save("b")
	admin := w.admin()
	token := *admin.story("/auditEvents?userId=alice&pageSize=1").NextPageToken
	for query, field := range map[string]string{
		"":                                    "startTime",
		"endTime=2026-01-01T00:00:00Z":        "startTime",
		"domain=accounts":                     "startTime",
		"startTime=2026-01-01":                "startTime",
		"startTime=":                          "startTime",
		"startTime=0001-01-01T00:00:00Z":      "startTime",
		"startTime=2026-01-01T00:00:00+02:00": "startTime",
		"startTime=2020-01-01T00:00:00Z":      "startTime",
		"startTime=2026-01-01T00:00:00Z&endTime=2026-02-02T00:00:00Z":          "startTime",
		"startTime=2026-01-02T00:00:00Z&endTime=2026-01-01T00:00:00Z":          "endTime",
		"userId=a&startTime=2026-01-02T00:00:00Z&endTime=2026-01-02T00:00:00Z": "endTime",
		"userId=":                 "userId",
		"userId=a%00":             "userId",
		"userId=a&actor=":         "actor",
		"userId=a&actor=%00":      "actor",
		"userId=a&actor=%FF":      "actor",
		"userId=a&domain=":        "domain",
		"userId=a&pageSize=x":     "pageSize",
		"userId=a&fields=version": "fields",
		"userId=a&userId=b":       "userId",
	} {
		admin.send(http.MethodGet, "/auditEvents?"+query, "").fails(http.StatusBadRequest, "INVALID_FIELD", field)
	}
	admin.send(http.MethodHead, "/auditEvents", "").fails(http.StatusBadRequest, "")
	admin.send(http.MethodGet, "/auditEvents?userId=a&domain=contacts", "").fails(http.StatusBadRequest, "UNKNOWN_DOMAIN", "domain")
	for _, query := range []string{
		"userId=bob&pageToken=" + token, "userId=alice&actor=alice&pageToken=" + token, "userId=alice&domain=accounts&pageToken=" + token,
		"userId=alice&startTime=2026-01-02T00:00:00Z&pageToken=" + token, "userId=alice&pageToken=x",
	} {
		admin.send(http.MethodGet, "/auditEvents?"+query, "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	}
	require.Len(t, admin.story("/auditEvents?userId=alice&pageToken="+token).AuditEvents, 1)
	require.Len(t, admin.story("/auditEvents?userId=alice&startTime=0000-01-01T00:00:00Z&endTime=9999-12-31T23:59:59.999999999Z").AuditEvents, 2)
}
