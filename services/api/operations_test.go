package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

const bulkPath = "/preferences:bulkCleanOrphaned"

// operation is one as it comes out.
type operation struct {
	Name     string
	Kind     string
	Done     bool
	Metadata struct {
		State    string
		Progress struct{ Done, Total, Percent int }
		Undo     *struct {
			Done, Total, Percent, Restored int
			Actor                          string
		}
		CancelRequested    bool
		CreateTime         time.Time
		StartTime, EndTime *time.Time
		Actor, Cause       string
	}
	Response json.RawMessage
	Error    *struct{ Code, Message, Status string }
}

func (o operation) path() string { return "/" + o.Name }

// entities is the body of a bulk clean.
func entities(ids ...string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = fmt.Sprintf(`{"entityId":%q,"entityType":"account"}`, id)
	}
	return `{"entities":[` + strings.Join(all, ",") + `]}`
}

// deferred calls for a clean that waits for a runner, and returns its id.
func (w *world) deferred(ids ...string) string {
	w.Helper()
	o := w.async(ids...)
	return strings.TrimPrefix(o.Name, "operations/")
}

func (w *world) async(ids ...string) (o operation) {
	w.Helper()
	res := w.system().send(http.MethodPost, bulkPath, entities(ids...), "Prefer", "respond-async").is(http.StatusAccepted)
	res.into(&o)
	require.Equal(w, o.path(), res.Header.Get("Location"))
	require.Equal(w, "respond-async", res.Header.Get("Preference-Applied"))
	require.Equal(w, "1", res.Header.Get("Retry-After"))
	return o
}

func (w *world) operation(o operation) (now operation) {
	w.Helper()
	w.system().send(http.MethodGet, o.path(), "").is(http.StatusOK).into(&now)
	return now
}

// work does what the runner of a consumer does, and calls each after every
// commit that got it further.
func (w *world) work(each func()) {
	w.Helper()
	for {
		held, found, err := w.store.Claim(w.Context(), "runner", time.Minute, preferences.OperationKinds()...)
		require.NoError(w, err)
		if !found {
			return
		}
		require.NoError(w, w.prefs.Run(w.Context(), held, each))
	}
}

func TestCase115_ABulkCleanAnswersAsTheSeedDoes(t *testing.T) {
	w := begin(t)
	w.as("alice").save("acc-010", "acc-011", "acc-012")
	w.as("bob").save("acc-010")
	w.as("carol").save("other")
	w.system().send(http.MethodPost, bulkPath, `{"entities":[]}`).fails(http.StatusBadRequest, "INVALID_FIELD", "entities")
	res := w.system().send(http.MethodPost, bulkPath, entities("acc-010", "acc-011", "acc-010", "acc-013")).is(http.StatusOK)
	require.JSONEq(t, `{
		"summary": {"totalEntities": 3, "totalPreferencesDeleted": 3, "affectedUsers": 2, "errors": []},
		"details": [
			{"entityId": "acc-010", "entityType": "account", "preferencesDeleted": 2, "affectedUsers": 2},
			{"entityId": "acc-011", "entityType": "account", "preferencesDeleted": 1, "affectedUsers": 1},
			{"entityId": "acc-013", "entityType": "account", "preferencesDeleted": 0, "affectedUsers": 0}
		]}`, res.text)
	require.Equal(t, []string{"acc-012:1"}, w.as("alice").read().shown())

	ids := make([]string, 1001)
	for i := range ids {
		ids[i] = fmt.Sprintf("e-%04d", i)
	}
	var summary struct{ Summary struct{ TotalEntities int } }
	w.system().send(http.MethodPost, bulkPath, entities(ids[:50]...)).is(http.StatusOK).into(&summary)
	require.Equal(t, 50, summary.Summary.TotalEntities)
	var more operation
	w.system().send(http.MethodPost, bulkPath, entities(ids[:51]...)).is(http.StatusAccepted).into(&more)
	require.False(t, more.Done)
	w.system().send(http.MethodPost, bulkPath, entities(ids...)).fails(http.StatusBadRequest, "TOO_MANY_ITEMS", "entities")
}

func TestBulkCleansThatAreRefused(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a")
	for name, c := range map[string]struct {
		body, code string
		status     int
		fields     []string
	}{
		"nothing":         {`{}`, "INVALID_FIELD", http.StatusBadRequest, []string{"entities"}},
		"null":            {`{"entities":null}`, "INVALID_FIELD", http.StatusBadRequest, []string{"entities"}},
		"unknown types":   {`{"entities":[{"entityId":"a","entityType":"account"},{"entityId":"a","entityType":"boat"},{"entityId":"u","entityType":"$user"}]}`, "UNKNOWN_ENTITY_TYPE", http.StatusUnprocessableEntity, []string{"entities[1].entityType", "entities[2].entityType"}},
		"all at once":     {`{"entities":[{"entityId":"a b","entityType":"account"},{"entityId":"a"},{"entityType":"account"}],"reorder":1}`, "INVALID_FIELD", http.StatusBadRequest, []string{"reorder", "entities[1].entityType", "entities[0].entityId", "entities[2].entityId"}},
		"unknown members": {`{"entities":[{"entityId":"a","entityType":"account","x":1}]}`, "INVALID_FIELD", http.StatusBadRequest, []string{"entities[0].x"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.unchanged(func() { w.system().send(http.MethodPost, bulkPath, c.body).fails(c.status, c.code, c.fields...) })
		})
	}
}

func TestCase116_AnOperationIsPolledToItsEnd(t *testing.T) {
	w := begin(t)
	for _, user := range []string{"alice", "bob", "carol"} {
		w.as(user).save("x", "a", "y")
	}
	o := w.async("x", "y")
	require.Equal(t, "bulkClean", o.Kind)
	require.Equal(t, "svc", o.Metadata.Actor)
	require.Nil(t, o.Metadata.StartTime)
	last := 0
	w.work(func() {
		now := w.operation(o)
		require.Greater(t, now.Metadata.Progress.Done, last, "progress never goes back")
		last = now.Metadata.Progress.Done
		require.Equal(t, 6, now.Metadata.Progress.Total)
	})
	res := w.system().send(http.MethodGet, o.path(), "").is(http.StatusOK)
	require.Empty(t, res.Header.Get("Retry-After"))
	now := w.operation(o)
	require.True(t, now.Done)
	require.Equal(t, "succeeded", now.Metadata.State)
	require.Equal(t, 100, now.Metadata.Progress.Percent)
	require.Nil(t, now.Error)
	require.JSONEq(t, `{"totalEntities":2,"totalPreferencesDeleted":6,"affectedUsers":3,"errors":[]}`, string(member(t, now.Response, "summary")))
	require.Equal(t, []string{"a:1"}, w.as("bob").read().shown())
	head := w.system().send(http.MethodHead, o.path(), "").is(http.StatusOK)
	require.Empty(t, head.text)
}

func member(t *testing.T, object json.RawMessage, name string) json.RawMessage {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &all))
	return all[name]
}

func TestCase117_AnUnknownOperationIsNotFound(t *testing.T) {
	w := begin(t)
	for _, id := range []string{"0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", "x", "0192688A4B3F7C219A5E3F1D2C4B5A69"} {
		w.system().send(http.MethodGet, "/operations/"+id, "").fails(http.StatusNotFound, "NOT_FOUND")
		w.system().send(http.MethodHead, "/operations/"+id, "").is(http.StatusNotFound)
		w.system().send(http.MethodPost, "/operations/"+id+"/cancel", "").fails(http.StatusNotFound, "NOT_FOUND")
		w.system().send(http.MethodPost, "/operations/"+id+"/undo", "").fails(http.StatusNotFound, "NOT_FOUND")
	}
}

func TestRequestsAboutOperationsHaveTheLimitsOfAll(t *testing.T) {
	w := begin(t)
	id := w.deferred("x")
	system := w.system()
	long := func(n int) string { return strings.Repeat("a", n) }
	w.unchanged(func() {
		for _, x := range [][2]string{
			{http.MethodGet, "/operations"},
			{http.MethodHead, "/operations"},
			{http.MethodGet, "/operations/" + id},
			{http.MethodHead, "/operations/" + id},
			{http.MethodPost, "/operations/" + id + "/cancel"},
			{http.MethodPost, "/operations/" + id + "/undo"},
			{http.MethodPost, "/operations:reconcile"},
			{http.MethodPost, "/operations:verify"},
			{http.MethodGet, "/status"},
			{http.MethodHead, "/status"},
			{http.MethodGet, "/preferences:detectOrphaned"},
			{http.MethodHead, "/preferences:detectOrphaned"},
		} {
			system.send(x[0], x[1]+"?x=1", "").fails(http.StatusBadRequest, "INVALID_FIELD")
			system.send(x[0], x[1]+"?"+long(9<<10), "").fails(http.StatusRequestURITooLong, "URL_TOO_LONG")
			system.send(x[0], x[1], "", "X-Long", long(33<<10)).fails(http.StatusRequestHeaderFieldsTooLarge, "HEADERS_TOO_LARGE")
			system.send(x[0], x[1], long(maxBody+1)).fails(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE")
		}
		system.send(http.MethodPost, bulkPath+"?"+long(9<<10), entities("x")).fails(http.StatusRequestURITooLong, "URL_TOO_LONG")
		system.send(http.MethodPost, bulkPath, entities("x"), "X-Long", long(33<<10)).fails(http.StatusRequestHeaderFieldsTooLarge, "HEADERS_TOO_LARGE")
	})
}

// TestACallWithoutABodyLeavesNothingThatItIsToldUnheard: what stands in a body
// would be taken for done.
func TestACallWithoutABodyLeavesNothingThatItIsToldUnheard(t *testing.T) {
	w := begin(t)
	system := w.system()
	cancel := "/operations/" + w.deferred("x") + "/cancel"
	w.unchanged(func() {
		for _, path := range []string{cancel, strings.TrimSuffix(cancel, "cancel") + "undo", "/operations:reconcile", "/operations:verify"} {
			for _, told := range []string{`{"undo": true}`, `{"dryRun": true}`, "[]", "null", "x"} {
				system.send(http.MethodPost, path, told).fails(http.StatusBadRequest, "INVALID_FIELD")
			}
		}
	})
	system.send(http.MethodPost, cancel, " {}\n").is(http.StatusAccepted)
}

// TestABulkCleanThatIsUnderWayIsNotRepeated: its key says so, and gives the
// answer when there is one.
func TestABulkCleanThatIsUnderWayIsNotRepeated(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x", "y")
	held, err := w.db.BeginTx(w.Context(), nil)
	require.NoError(t, err)
	_, err = held.ExecContext(w.Context(), "select 1 from preference_lists for update")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		by := preferences.By{Actor: "svc", RequestID: "r", Once: &preferences.Once{Key: "bulk"}}
		_, err := w.prefs.BulkClean(t.Context(), by, []preferences.Entity{{Type: "account", ID: "x"}}, true, false)
		ended <- err
	}()
	require.Eventually(t, func() bool { return w.count("select count(*) from operations where state = 'running'") == 1 }, 10*time.Second, 5*time.Millisecond)
	send := func() answered { return w.system().send(http.MethodPost, bulkPath, entities("x"), keyHeader, "bulk") }
	send().fails(http.StatusConflict, "REQUEST_IN_PROGRESS")
	require.NoError(t, held.Rollback())
	require.NoError(t, <-ended)
	w.unchanged(func() { require.Contains(t, send().is(http.StatusOK).text, `"totalPreferencesDeleted":1`) })
}

// TestCase22_ARoleThatIsTakenAwayStopsNothing: an operation belongs to nobody's
// token.
func TestCase22_ARoleThatIsTakenAwayStopsNothing(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x")
	o := w.async("x")
	demoted := w.as("svc")
	demoted.send(http.MethodPost, bulkPath, entities("y")).fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
	demoted.send(http.MethodGet, o.path(), "").fails(http.StatusForbidden, "INSUFFICIENT_SCOPE")
	w.work(func() {})
	require.Equal(t, "succeeded", w.operation(o).Metadata.State)
}

func TestAnOperationIsCancelledAndUndone(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save("x", "a", "y")
	before := alice.read().shown()
	o := w.async("x", "y")
	calls := 0
	w.work(func() {
		if calls++; calls == 1 {
			var stopping operation
			w.admin().send(http.MethodPost, o.path()+"/cancel", "").is(http.StatusAccepted).into(&stopping)
			require.True(t, stopping.Metadata.CancelRequested)
		}
	})
	cancelled := w.operation(o)
	require.True(t, cancelled.Done)
	require.Equal(t, "CANCELLED", cancelled.Error.Code)
	require.Empty(t, cancelled.Response)
	require.Equal(t, []string{"a:1", "y:2"}, alice.read().shown())
	w.admin().send(http.MethodPost, o.path()+"/cancel", "").fails(http.StatusConflict, "OPERATION_FINISHED")
	w.admin().send(http.MethodPost, o.path()+"/cancel?undo=maybe", "").fails(http.StatusBadRequest, "INVALID_FIELD", "undo")

	var undoing operation
	w.admin().send(http.MethodPost, o.path()+"/undo", "").is(http.StatusAccepted).into(&undoing)
	require.Equal(t, "compensating", undoing.Metadata.State)
	require.False(t, undoing.Done)
	require.Nil(t, undoing.Metadata.EndTime)
	w.work(func() {})
	undone := w.operation(o)
	require.Equal(t, "compensated", undone.Metadata.State)
	require.Equal(t, 1, undone.Metadata.Undo.Restored)
	require.Equal(t, 100, undone.Metadata.Undo.Percent)
	require.Equal(t, "root", undone.Metadata.Undo.Actor)
	require.Nil(t, undone.Error)
	require.Equal(t, before, alice.read().shown())
	w.admin().send(http.MethodPost, o.path()+"/undo", "").fails(http.StatusConflict, "OPERATION_FINISHED")

	var calledBy []string
	for _, e := range w.admin().story("/auditEvents?startTime=" + url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))).AuditEvents {
		if e.Operation == o.Name && e.Type != "listChanged" {
			calledBy = append(calledBy, e.Type+" "+e.Actor+" "+e.State)
		}
	}
	require.Equal(t, []string{"operationUndone root compensated", "operationCancelled root compensated", "operationCalled svc compensated"}, calledBy)
}

func TestOperationsAreListed(t *testing.T) {
	w := begin(t)
	open := w.async("x")
	w.clean(`{"entityId":"y","entityType":"account"}`)
	list := func(query string) (names []string) {
		var page struct {
			Operations    []operation
			NextPageToken *string
		}
		w.system().send(http.MethodGet, "/operations"+query, "").is(http.StatusOK).into(&page)
		for _, o := range page.Operations {
			require.Empty(t, o.Response)
			names = append(names, o.Kind+" "+o.Metadata.State)
		}
		return names
	}
	require.Equal(t, []string{"cleanEntity succeeded", "bulkClean pending"}, list(""))
	require.Equal(t, []string{"bulkClean pending"}, list("?state=pending"))
	require.Equal(t, []string{"cleanEntity succeeded"}, list("?kind=cleanEntity&pageSize=1"))
	require.Equal(t, []string{"cleanEntity succeeded"}, list("?pageSize=1"))
	require.Empty(t, list("?state=failed"))
	w.system().send(http.MethodGet, "/operations?state=open&kind=x&pageSize=a", "").fails(http.StatusBadRequest, "INVALID_FIELD", "state", "kind", "pageSize")
	w.system().send(http.MethodGet, "/operations?pageToken=x", "").fails(http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
	w.system().send(http.MethodHead, "/operations", "").is(http.StatusOK)
	w.system().send(http.MethodHead, "/operations?state=open", "").is(http.StatusBadRequest)
	require.Equal(t, "pending", w.operation(open).Metadata.State)
}

func TestABulkCleanHappensOnceUnderItsKey(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x", "y", "z")
	send := func(body string, h ...string) answered {
		return w.system().send(http.MethodPost, bulkPath, body, append(h, keyHeader, "bulk")...)
	}
	first := send(entities("x")).is(http.StatusOK)
	w.unchanged(func() {
		require.JSONEq(t, first.text, send(`{"reorder":true,"entities":[{"entityType":"account","entityId":"x"}]}`).is(http.StatusOK).text)
		send(entities("y")).fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
	})
	async := func() (o operation) {
		w.system().send(http.MethodPost, bulkPath, entities("y"), "Prefer", "respond-async", keyHeader, "async").is(http.StatusAccepted).into(&o)
		return o
	}
	o := async()
	require.Equal(t, o.Name, async().Name, "while it goes on")
	w.work(func() {})
	require.Equal(t, o.Name, async().Name, "and when it is done")
	require.True(t, async().Done)
}

func TestACleanThatTakesTooLongBecomesAnOperation(t *testing.T) {
	w := begin(t, func(o *preferences.Options) { o.Patience = 50 * time.Millisecond })
	w.as("alice").save("x")
	held, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = held.ExecContext(t.Context(), "select 1 from preference_lists for update")
	require.NoError(t, err)
	var one, many operation
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"x","entityType":"account"}`).is(http.StatusAccepted).into(&one)
	w.system().send(http.MethodPost, bulkPath, entities("x", "y")).is(http.StatusAccepted).into(&many)
	require.NoError(t, held.Rollback())
	w.work(func() {})
	require.True(t, w.operation(one).Done)
	require.True(t, w.operation(many).Done)
}
