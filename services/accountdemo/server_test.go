package accountdemo

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
)

// demo is the service without sockets: its handlers and its sender over a
// broker that can be away.
type demo struct {
	t      *testing.T
	file   string
	broker *broker
	book   *book
	server http.Handler
	stop   func()
}

// start brings a demo up on the file, like a start of the process.
func start(t *testing.T, file string, b *broker, accounts int) *demo {
	t.Helper()
	book, err := openBook(file, accounts)
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	d := &demo{t: t, file: file, broker: b, book: book, server: (&server{book: book, log: log}).routes()}
	d.stop = run(t, &sender{book: book, publisher: b, topic: "account.events", log: log})
	return d
}

func (d *demo) do(method, path, body string) *httptest.ResponseRecorder {
	d.t.Helper()
	w := httptest.NewRecorder()
	d.server.ServeHTTP(w, httptest.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(body)))
	return w
}

func (d *demo) ids(path string) (found []string, notFound []string) {
	d.t.Helper()
	w := d.do(http.MethodGet, path, "")
	require.Equal(d.t, http.StatusOK, w.Code)
	var body lookupJSON
	require.NoError(d.t, json.Unmarshal(w.Body.Bytes(), &body))
	for _, a := range body.Accounts {
		found = append(found, a.ID)
	}
	return found, body.NotFound
}

func newFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "accounts.json")
}

func TestAccountsAreListedAndLookedUp(t *testing.T) {
	t.Parallel()
	d := start(t, newFile(t), &broker{}, 4)
	defer d.stop()

	found, _ := d.ids("/accounts")
	require.Equal(t, []string{"acc-001", "acc-002", "acc-003", "acc-004"}, found)
	require.NotContains(t, d.do(http.MethodGet, "/accounts", "").Body.String(), "notFound")

	require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-002", "").Code)
	found, _ = d.ids("/accounts")
	require.Equal(t, []string{"acc-001", "acc-003", "acc-004"}, found)

	found, missing := d.ids("/accounts?ids=acc-004,acc-002,nobody&ids=acc-001,acc-004")
	require.Equal(t, []string{"acc-004", "acc-001"}, found)
	require.Equal(t, []string{"acc-002", "nobody"}, missing)
	require.JSONEq(t, `{"accounts": [], "notFound": []}`, d.do(http.MethodGet, "/accounts?ids=", "").Body.String())
	require.Equal(t, http.StatusBadRequest, d.do(http.MethodGet, "/accounts?ids="+manyIDs(maxIDs+1), "").Code)
	require.Equal(t, http.StatusOK, d.do(http.MethodGet, "/accounts?ids="+manyIDs(maxIDs), "").Code)
}

func manyIDs(n int) string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = idOf(i + 1)
	}
	return strings.Join(ids, ",")
}

func TestEveryChangeIsPublishedBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	d := start(t, newFile(t), &broker{}, 6)
	defer d.stop()

	w := d.do(http.MethodPost, "/accounts", `{"name": "Global Account G", "type": "corporate"}`)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	require.Equal(t, "/accounts?ids=acc-007", w.Header().Get("Location"))
	require.Equal(t, []string{"account.created acc-007"}, d.broker.log())

	require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-003", "").Code)
	w = d.do(http.MethodPost, "/accounts/acc-003/restore", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, []string{"account.created acc-007", "account.deleted acc-003", "account.restored acc-003"}, d.broker.log())
	require.Empty(t, d.book.pending())
	for _, m := range d.broker.messages() {
		var e event
		require.NoError(t, json.Unmarshal(m.Value, &e))
		require.NoError(t, events.Validate(events.Type(e.Type), events.SchemaVersion, m.Value))
	}

	sent := d.broker.messages()[1]
	require.Equal(t, "acc-003", string(sent.Key))
	require.Equal(t, "account.events", sent.Topic)
	var body map[string]any
	require.NoError(t, json.Unmarshal(sent.Value, &body))
	at, err := time.Parse(time.RFC3339Nano, body["timestamp"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	delete(body, "timestamp")
	require.Equal(t, map[string]any{
		"eventType": "account.deleted", "eventId": sent.EventID.String(),
		"data": map[string]any{"accountId": "acc-003", "accountName": "Startup Account C", "deletedBy": "accountdemo"},
	}, body)
}

func TestTimesOfOneAccountOnlyGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose clock stands still while the demo works
		d := start(t, newFile(t), &broker{}, 1)
		defer d.stop()
		for range 3 {
			require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-001", "").Code)
			require.Equal(t, http.StatusOK, d.do(http.MethodPost, "/accounts/acc-001/restore", "").Code)
		}
		var last time.Time
		for _, m := range d.broker.messages() {
			var e event
			require.NoError(t, json.Unmarshal(m.Value, &e))
			require.True(t, e.Time.After(last), "%s is not after %s", e.Time, last)
			last = e.Time
		}
	})
}

func TestAnOutageLosesNoEvent(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		d := start(t, file, &broker{away: true}, 6)
		w := d.do(http.MethodDelete, "/accounts/acc-001", "")
		require.Equal(t, http.StatusAccepted, w.Code)
		require.Contains(t, w.Body.String(), `"eventId"`)
		require.Equal(t, http.StatusAccepted, d.do(http.MethodPost, "/accounts", `{"id": "acc-900", "name": "Late"}`).Code)
		require.Equal(t, http.StatusAccepted, d.do(http.MethodPost, "/accounts/acc-001/restore", "").Code)
		require.Empty(t, d.broker.log())

		d.stop() // and the process ends before the broker is back
		d = start(t, file, d.broker, 6)
		defer d.stop()
		d.broker.heal()
		time.Sleep(2 * retryEvery) //nolint:forbidigo // the bubble's clock: it costs no time
		require.Equal(t, []string{"account.deleted acc-001", "account.created acc-900", "account.restored acc-001"}, d.broker.log())
		require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-001", "").Code)
	})
}

func TestAHalfTakenRoundGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{away: true}
		d := start(t, newFile(t), b, 6)
		defer d.stop()
		for _, id := range []string{"acc-001", "acc-002", "acc-003"} {
			require.Equal(t, http.StatusAccepted, d.do(http.MethodDelete, "/accounts/"+id, "").Code)
		}
		b.healFor(2)
		time.Sleep(2 * retryEvery) //nolint:forbidigo // the bubble's clock
		require.Equal(t, []string{"account.deleted acc-001", "account.deleted acc-002"}, b.log())
		b.heal()
		time.Sleep(2 * retryEvery) //nolint:forbidigo // the bubble's clock
		require.Equal(t, []string{"account.deleted acc-001", "account.deleted acc-002", "account.deleted acc-003"}, b.log())
	})
}

func TestASecondStartKeepsTheAccounts(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	d := start(t, file, &broker{}, 4)
	require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-002", "").Code)
	require.Equal(t, http.StatusCreated, d.do(http.MethodPost, "/accounts", `{"name": "Mine"}`).Code)
	d.stop()

	d = start(t, file, &broker{}, 7)
	defer d.stop()
	found, _ := d.ids("/accounts")
	require.Equal(t, []string{"acc-001", "acc-003", "acc-004", "acc-005", "acc-006", "acc-007"}, found)
	require.Contains(t, d.do(http.MethodGet, "/accounts?ids=acc-005", "").Body.String(), "Mine")
	require.Empty(t, d.broker.log(), "what was there before is no news")
}

func TestADamagedFileIsNamed(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	require.NoError(t, os.WriteFile(file, []byte(`{"accounts": [`), 0o600))
	_, err := openBook(file, 1)
	require.ErrorContains(t, err, file)
}

func TestAChangeThatCannotBeKeptIsNotMade(t *testing.T) {
	t.Parallel()
	d := start(t, newFile(t), &broker{}, 2)
	defer d.stop()
	d.book.path = filepath.Join(t.TempDir(), "gone", "accounts.json")
	w := d.do(http.MethodDelete, "/accounts/acc-001", "")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "gone")
	found, _ := d.ids("/accounts")
	require.Equal(t, []string{"acc-001", "acc-002"}, found)
	require.Empty(t, d.broker.log())
}

func TestImpossibleRequestsAreRefused(t *testing.T) {
	t.Parallel()
	d := start(t, newFile(t), &broker{}, 2)
	defer d.stop()
	require.Equal(t, http.StatusNoContent, d.do(http.MethodDelete, "/accounts/acc-002", "").Code)
	published := len(d.broker.log())

	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"delete twice", http.MethodDelete, "/accounts/acc-002", "", http.StatusNotFound, "NOT_FOUND"},
		{"delete nobody", http.MethodDelete, "/accounts/nobody", "", http.StatusNotFound, "NOT_FOUND"},
		{"restore what is there", http.MethodPost, "/accounts/acc-001/restore", "", http.StatusConflict, "ALREADY_EXISTS"},
		{"restore nobody", http.MethodPost, "/accounts/nobody/restore", "", http.StatusNotFound, "NOT_FOUND"},
		{"create again", http.MethodPost, "/accounts", `{"id": "acc-001", "name": "x"}`, http.StatusConflict, "ALREADY_EXISTS"},
		{"create what was deleted", http.MethodPost, "/accounts", `{"id": "acc-002", "name": "x"}`, http.StatusConflict, "ALREADY_EXISTS"},
		{"no name", http.MethodPost, "/accounts", `{}`, http.StatusBadRequest, "INVALID_FIELD"},
		{"an id with a slash", http.MethodPost, "/accounts", `{"id": "a/b", "name": "x"}`, http.StatusBadRequest, "INVALID_FIELD"},
		{"no JSON", http.MethodPost, "/accounts", `{`, http.StatusBadRequest, "INVALID_JSON"},
		{"too large", http.MethodPost, "/accounts", `{"name": "` + strings.Repeat("x", maxBody) + `"}`, http.StatusBadRequest, "INVALID_FIELD"},
		{"no such place", http.MethodGet, "/nowhere", "", http.StatusNotFound, "NOT_FOUND"},
		{"no such method", http.MethodPut, "/accounts", "", http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED"},
	} {
		w := d.do(c.method, c.path, c.body)
		require.Equal(t, c.status, w.Code, "%s: %s", c.name, w.Body)
		require.Contains(t, w.Body.String(), `"code":"`+c.code+`"`, c.name)
	}
	require.Len(t, d.broker.log(), published)
}

func TestAnyPageMayTryIt(t *testing.T) {
	t.Parallel()
	d := start(t, newFile(t), &broker{}, 1)
	defer d.stop()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/accounts/acc-001", http.NoBody)
	r.Header.Set("Origin", "http://localhost:3000")
	r.Header.Set("Access-Control-Request-Method", http.MethodDelete)
	w := httptest.NewRecorder()
	d.server.ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
	require.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), http.MethodDelete)
}
