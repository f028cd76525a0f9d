package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// events counts what waits for Kafka.
func (w *world) events() int {
	w.Helper()
	return w.count("select count(*) from outbox")
}

const firstSave = `{"domain":"accounts","preferences":[
	{"entityId":"acc-001","entityType":"account","order":1,"attributes":{}},
	{"entityId":"acc-003","entityType":"account","order":2,"attributes":{}},
	{"entityId":"acc-004","entityType":"account","order":3,"attributes":{}},
	{"entityId":"acc-002","entityType":"account","order":4,"attributes":{}}]}`

func TestCase048_AFirstSaveCreatesAll(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.replace(firstSave).list(http.StatusOK)
	require.Equal(t, summary{Created: 4, Total: 4}, *l.Summary)
	require.Equal(t, []string{"acc-001:1", "acc-003:2", "acc-004:3", "acc-002:4"}, l.shown())
	require.Empty(t, l.Skipped)
	require.Nil(t, l.NextPageToken)
	require.Equal(t, 1, alice.events())
	again := alice.read()
	again.Summary, again.Skipped = l.Summary, l.Skipped
	require.Equal(t, l, again, "the answer is what every reader sees")
}

func TestCase049_TheSameSaveAgainChangesNothing(t *testing.T) {
	alice := begin(t).as("alice")
	first := alice.replace(firstSave).list(http.StatusOK)
	alice.unchanged(func() {
		again := alice.replace(firstSave).list(http.StatusOK)
		require.Equal(t, summary{Total: 4}, *again.Summary)
		require.Equal(t, first.ETag, again.ETag)
		require.Equal(t, first.Preferences, again.Preferences)
	})
}

func TestCase050_AnUpdateCountsWhatDiffers(t *testing.T) {
	alice := begin(t).as("alice")
	alice.replace(firstSave)
	l := alice.replace(`{"domain":"accounts","preferences":[
		{"entityId":"acc-003","entityType":"account","order":1,"attributes":{"isFavorite":true}},
		{"entityId":"acc-005","entityType":"account","order":2,"attributes":{}},
		{"entityId":"acc-001","entityType":"account","order":3,"attributes":{}},
		{"entityId":"acc-004","entityType":"account","order":4,"attributes":{}},
		{"entityId":"acc-002","entityType":"account","order":5,"attributes":{}}]}`).list(http.StatusOK)
	require.Equal(t, summary{Created: 1, Updated: 4, Total: 5}, *l.Summary)
	require.Equal(t, 2, alice.events())
}

func TestCase051_AnEmptySaveDeletesAll(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("a", "b", "c")
	l := alice.replace(`{"domain":"accounts","preferences":[]}`).list(http.StatusOK)
	require.Equal(t, summary{Deleted: 3}, *l.Summary)
	require.Empty(t, alice.read().Preferences)
	require.Equal(t, 2, alice.read().Version)
}

// TestSavesThatAreRefused are the cases in which nothing may change.
func TestSavesThatAreRefused(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save("kept")
	item := func(members string) string { return items0(`{"entityId":"a",` + members + `}`) }
	for name, c := range map[string]struct {
		body, code string
		fields     []string
	}{
		"case 52: no list":            {`{"domain":"accounts"}`, "INVALID_FIELD", []string{"preferences"}},
		"case 52: null":               {`{"domain":"accounts","preferences":null}`, "INVALID_FIELD", []string{"preferences"}},
		"case 52: no array":           {`{"domain":"accounts","preferences":{}}`, "INVALID_FIELD", []string{"preferences"}},
		"case 53: entity twice":       {body("a", "b", "a"), "DUPLICATE_ENTITY", []string{"preferences[2].entityId"}},
		"case 54: order twice":        {items0(`{"entityId":"a","order":1}`, `{"entityId":"b","order":2}`, `{"entityId":"c","order":1}`), "ORDER_CONFLICT", []string{"preferences[2].order"}},
		"case 56: order 0":            {item(`"order":0`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order -1":           {item(`"order":-1`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order 2^31":         {item(`"order":2147483648`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order 2^64":         {item(`"order":18446744073709551616`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order 1.5":          {item(`"order":1.5`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order text":         {item(`"order":"1"`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order 1e2":          {item(`"order":1e2`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 56: order null":         {item(`"order":null`), "INVALID_FIELD", []string{"preferences[0].order"}},
		"case 57: mixed":              {items0(`{"entityId":"a","order":1}`, `{"entityId":"b"}`), "INVALID_FIELD", []string{"preferences[1].order"}},
		"case 57: mixed, other way":   {items0(`{"entityId":"a"}`, `{"entityId":"b","order":1}`), "INVALID_FIELD", []string{"preferences[1].order"}},
		"case 58: attributes null":    {item(`"attributes":null`), "INVALID_FIELD", []string{"preferences[0].attributes"}},
		"case 58: attributes array":   {item(`"attributes":[]`), "INVALID_FIELD", []string{"preferences[0].attributes"}},
		"case 58: attributes text":    {item(`"attributes":"x"`), "INVALID_FIELD", []string{"preferences[0].attributes"}},
		"case 59: other type":         {item(`"entityType":"contact"`), "INVALID_FIELD", []string{"preferences[0].entityType"}},
		"case 61: typo":               {item(`"ordre":1`), "INVALID_FIELD", []string{"preferences[0].ordre"}},
		"case 61: case":               {items0(`{"ENTITYID":"a"}`), "INVALID_FIELD", []string{"preferences[0].ENTITYID"}},
		"case 61: typo at the top":    {`{"domain":"accounts","preferences":[],"force":true}`, "INVALID_FIELD", []string{"force"}},
		"case 62: other domain":       {item(`"domain":"contacts"`), "INVALID_FIELD", []string{"preferences[0].domain"}},
		"case 63: 1001":               {body(many(1001)...), "TOO_MANY_ITEMS", []string{"preferences"}},
		"case 77: id missing":         {items0(`{}`), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id empty":           {body(""), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id 129":             {body(strings.Repeat("a", 129)), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id with space":      {body("a b"), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id decomposed":      {items0(`{"entityId":"e` + "\u0301" + `"}`), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id with slash":      {body("a/b"), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"case 77: id with line break": {items0(`{"entityId":"a\n"}`), "INVALID_FIELD", []string{"preferences[0].entityId"}},
		"all at once":                 {items0(`{"entityId":""}`, `{"entityId":"a","entityType":"x","order":0}`, `{"entityId":"a"}`), "INVALID_FIELD", []string{"preferences[0].entityId", "preferences[1].entityType", "preferences[1].order", "preferences[2].entityId"}},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			alice.unchanged(func() {
				alice.replace(c.body).fails(http.StatusBadRequest, c.code, c.fields...)
			})
		})
	}
}

func TestCase053_BothPlacesAreNamed(t *testing.T) {
	alice := begin(t).as("alice")
	p := alice.replace(body("a", "b", "a")).fails(http.StatusBadRequest, "DUPLICATE_ENTITY", "preferences[2].entityId")
	require.Contains(t, p.Error.Details.FieldViolations[0].Description, "preferences[0].entityId")
	p = alice.replace(items0(`{"entityId":"a","order":7}`, `{"entityId":"b","order":7}`)).fails(http.StatusBadRequest, "ORDER_CONFLICT", "preferences[1].order")
	require.Contains(t, p.Error.Details.FieldViolations[0].Description, "preferences[0].order")
}

func TestCase055_OrdersAreStoredDense(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.replace(items0(`{"entityId":"c","order":9}`, `{"entityId":"a","order":1}`, `{"entityId":"b","order":5}`)).list(http.StatusOK)
	require.Equal(t, []string{"a:1", "b:2", "c:3"}, l.shown())
	alice.unchanged(func() {
		l := alice.replace(items0(`{"entityId":"a","order":10}`, `{"entityId":"b","order":11}`, `{"entityId":"c","order":2147483647}`)).list(http.StatusOK)
		require.Equal(t, summary{Total: 3}, *l.Summary)
	})
}

func TestCase057_WithoutOrdersThePlaceCounts(t *testing.T) {
	alice := begin(t).as("alice")
	require.Equal(t, []string{"z:1", "m:2", "a:3"}, alice.save("z", "m", "a").shown())
}

func TestCase058_AbsentAttributesAreKept(t *testing.T) {
	alice := begin(t).as("alice")
	alice.replace(items0(`{"entityId":"a","attributes":{"isFavorite":true}}`, `{"entityId":"b","attributes":{"x":1}}`))
	l := alice.replace(items0(`{"entityId":"b"}`, `{"entityId":"a"}`)).list(http.StatusOK)
	require.JSONEq(t, `{"isFavorite":true}`, string(l.find("a").Attributes))
	require.JSONEq(t, `{"x":1}`, string(l.find("b").Attributes))
	l = alice.replace(items0(`{"entityId":"b"}`, `{"entityId":"a","attributes":{}}`)).list(http.StatusOK)
	require.JSONEq(t, `{}`, string(l.find("a").Attributes))
	require.JSONEq(t, `{"x":1}`, string(l.find("b").Attributes))
	require.Equal(t, summary{Updated: 1, Total: 2}, *l.Summary)
}

func TestCase059_AnAbsentTypeIsTheDomains(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.replace(items0(`{"entityId":"a"}`, `{"entityId":"b","entityType":"account"}`, `{"entityId":"c","entityType":""}`)).list(http.StatusOK)
	require.Equal(t, "account", l.find("a").EntityType)
	require.Equal(t, "account", l.find("b").EntityType)
	require.Equal(t, "account", l.find("c").EntityType, "empty is as good as absent")
}

// TestCase060: what was read can be sent back as it is.
func TestCase060_AnEchoIsAccepted(t *testing.T) {
	alice := begin(t).as("alice")
	alice.replace(items0(`{"entityId":"a","attributes":{"n":1.0,"deep":{"x":[1,2]}}}`, `{"entityId":"b"}`))
	read := alice.send(http.MethodGet, accounts, "").is(http.StatusOK)
	alice.unchanged(func() {
		echo := `{"domain":"accounts",` + strings.TrimPrefix(strings.TrimSpace(read.text), "{")
		l := alice.replace(echo).list(http.StatusOK)
		require.Equal(t, summary{Total: 2}, *l.Summary)
		saved := alice.replace(echo)
		alice.replace(`{"domain":"accounts",` + strings.TrimPrefix(strings.TrimSpace(saved.text), "{")).list(http.StatusOK)
	})
}

func TestCase063_AThousandItemsAreTaken(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save(many(1000)...)
	require.Equal(t, summary{Created: 1000, Total: 1000}, *l.Summary)
	require.Equal(t, "e-1000:1000", l.shown()[999])
	alice.unchanged(func() {
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"one-more"}`).fails(http.StatusBadRequest, "TOO_MANY_ITEMS")
	})
}

// TestCase077: ids of every length and character that is allowed.
func TestCase077_IDsAreTakenAsTheyAre(t *testing.T) {
	alice := begin(t).as("alice")
	ids := []string{"a", "A", "0", "._:-", "AZaz09._:-", strings.Repeat("x", 128), "null", "true", "-", "1e5"}
	l := alice.save(ids...)
	require.Equal(t, ids, idsOf(l))
	require.Equal(t, ids, idsOf(alice.read()))
}

func TestSkippedEntitiesAreNamed(t *testing.T) {
	w := begin(t)
	w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"gone","entityType":"account"}`).is(http.StatusOK)
	alice := w.as("alice")
	l := alice.replace(body("a", "gone", "b")).list(http.StatusOK)
	require.Equal(t, []string{"a:1", "b:2"}, l.shown())
	require.Equal(t, []map[string]string{{"entityId": "gone", "entityType": "account", "reason": "ENTITY_DELETED"}}, l.Skipped)
	require.Equal(t, summary{Created: 2, Total: 2}, *l.Summary)
	alice.unchanged(func() {
		require.Len(t, alice.replace(body("a", "gone", "b")).list(http.StatusOK).Skipped, 1)
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"gone"}`).fails(http.StatusConflict, "ENTITY_DELETED")
	})
}

// TestTheHistorySaysWhoWrote: request id and trace context travel with a write.
func TestTheHistorySaysWhoWrote(t *testing.T) {
	alice := begin(t).as("alice")
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	res := alice.replace(body("a"), "X-Request-Id", "req-1", "Traceparent", parent)
	require.Equal(t, "req-1", res.Header.Get("X-Request-Id"))
	require.Equal(t, 1, alice.count("select count(*) from changes where actor = 'alice' and request_id = 'req-1' and not forced"))
	var headers string
	require.NoError(t, alice.db.QueryRowContext(t.Context(), "select headers::text from outbox").Scan(&headers))
	require.Contains(t, decodedHeaders(t, headers), "traceparent="+parent)
	alice.replace(body("b"), "X-Request-Id", fmt.Sprint("bad id\t", 1), "Traceparent", "00-zz")
	require.Equal(t, 1, alice.count("select count(*) from changes where version = 2 and length(request_id) = 26"))
}

// decodedHeaders spells the headers of an outbox row.
func decodedHeaders(t *testing.T, text string) (out []string) {
	t.Helper()
	var all [][2]string
	require.NoError(t, json.Unmarshal([]byte(text), &all))
	for _, h := range all {
		value, err := base64.StdEncoding.DecodeString(h[1])
		require.NoError(t, err)
		out = append(out, h[0]+"="+string(value))
	}
	return out
}
