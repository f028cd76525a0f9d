package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func (c caller) patch(id, body string, h ...string) answered {
	c.Helper()
	return c.send(http.MethodPatch, "/preferences/"+id, body, h...)
}

func TestCase097_APatchMerges(t *testing.T) {
	alice := begin(t).as("alice")
	saved := alice.replace(items0(`{"entityId":"a","attributes":{"keep":1,"drop":2,"sub":{"x":1,"y":{"z":1}},"list":[1,2]}}`, `{"entityId":"b"}`)).list(http.StatusOK)
	id := saved.find("a").ID
	it := alice.patch(id, `{"attributes":{"drop":null,"new":{"n":null,"m":1},"sub":{"y":{"z":null,"w":2}},"list":[3],"absent":null}}`, "Content-Type", "application/merge-patch+json").item(http.StatusOK)
	require.JSONEq(t, `{"keep":1,"sub":{"x":1,"y":{"w":2}},"list":[3],"new":{"m":1}}`, string(it.Attributes))
	require.Equal(t, 2, it.Version)
	require.Equal(t, saved.find("a").CreateTime, it.CreateTime)
	require.Greater(t, it.UpdateTime, it.CreateTime)
	require.Equal(t, it, alice.send(http.MethodGet, "/preferences/"+id, "").item(http.StatusOK))
	require.Equal(t, saved.find("b"), alice.read().find("b"), "the other item is as it was")
	require.Equal(t, 2, alice.events())
}

func TestCase098_APatchOfNothingChangesNothing(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.replace(items0(`{"entityId":"a","attributes":{"x":1}}`)).list(http.StatusOK).Preferences[0]
	alice.unchanged(func() {
		for _, body := range []string{`{}`, `{"attributes":{}}`, `{"attributes":{"x":1.0}}`, `{"attributes":{"y":null}}`, `{"order":1}`} {
			require.Equal(t, it, alice.patch(it.ID, body).item(http.StatusOK), body)
		}
	})
}

func TestCase099_APatchedOrderMovesTheOthers(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a", "b", "c", "d")
	it := alice.patch(l.find("d").ID, `{"order":2,"attributes":{"moved":true}}`).item(http.StatusOK)
	require.Equal(t, 2, it.Order)
	require.Equal(t, []string{"a:1", `d:2{"moved":true}`, "b:3", "c:4"}, alice.read().shown())
	alice.patch(l.find("a").ID, `{"order":4}`).item(http.StatusOK)
	require.Equal(t, []string{`d:1{"moved":true}`, "b:2", "c:3", "a:4"}, alice.read().shown())
	alice.unchanged(func() {
		for _, order := range []string{"0", "5", "-1", "2147483648", "1.5", `"1"`, "null", "1e0"} {
			alice.patch(l.find("a").ID, `{"order":`+order+`}`).fails(http.StatusBadRequest, "INVALID_FIELD", "order")
		}
	})
}

func TestCase100_WhatAnItemIsCannotBePatched(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	it := alice.save("a", "b").Preferences[0]
	w.unchanged(func() {
		for field, value := range map[string]string{
			"id": "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", "name": "preferences/x", "domain": "contacts", "entityId": "z", "entityType": "contact", "userId": "bob",
		} {
			p := alice.patch(it.ID, `{"attributes":{"x":1},"`+field+`":"`+value+`"}`).fails(http.StatusBadRequest, "IMMUTABLE_FIELD", field)
			require.Len(t, p.Error.Details.FieldViolations, 1)
			alice.patch(it.ID, `{"`+field+`":null}`).fails(http.StatusBadRequest, "INVALID_FIELD", field)
		}
		alice.patch(it.ID, `{"entityId":"z","domain":"contacts"}`).fails(http.StatusBadRequest, "IMMUTABLE_FIELD", "entityId", "domain")
		alice.patch(it.ID, `{"attribute":{}}`).fails(http.StatusBadRequest, "INVALID_FIELD", "attribute")
		alice.patch(it.ID, `{"attributes":null}`).fails(http.StatusBadRequest, "INVALID_FIELD", "attributes")
		echo := strings.TrimSuffix(strings.TrimSpace(alice.send(http.MethodGet, "/preferences/"+it.ID, "").text), "}") + `,"userId":"alice"}`
		require.Equal(t, it, alice.patch(it.ID, echo).item(http.StatusOK), "an echo says nothing new")
	})
}

func TestCase101_JSONPatchIsNotUnderstood(t *testing.T) {
	alice := begin(t).as("alice")
	it := alice.save("a").Preferences[0]
	alice.unchanged(func() {
		res := alice.patch(it.ID, `[{"op":"add","path":"/attributes/x","value":1}]`, "Content-Type", "application/json-patch+json")
		res.fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		require.Equal(t, "application/merge-patch+json, application/json", res.Header.Get("Accept-Patch"))
	})
	alice.patch(it.ID, `{"attributes":{"x":1}}`, "Content-Type", "application/merge-patch+json; charset=utf-8").item(http.StatusOK)
}

func TestCase102_WhatIsDeletedIsGone(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save("a", "b", "c")
	res := alice.send(http.MethodDelete, "/preferences/"+l.find("b").ID, "").is(http.StatusNoContent)
	require.Empty(t, res.text)
	require.Equal(t, []string{"a:1", "c:2"}, alice.read().shown())
	require.Equal(t, 2, alice.events())
	alice.unchanged(func() {
		for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch} {
			alice.send(method, "/preferences/"+l.find("b").ID, `{}`).fails(http.StatusNotFound, "NOT_FOUND")
		}
	})
	require.NotEqual(t, l.find("c").ETag, alice.read().find("c").ETag, "its order is part of what the tag stands for")
}

func TestCase103_ANewItemHasAnAddress(t *testing.T) {
	alice := begin(t).as("alice")
	res := alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a","attributes":{"x":1}}`)
	it := res.item(http.StatusCreated)
	require.Equal(t, "/preferences/"+it.ID, res.Header.Get("Location"))
	id, err := uuid.Parse(it.ID)
	require.NoError(t, err)
	require.Equal(t, uuid.Version(7), id.Version())
	require.Equal(t, it, alice.send(http.MethodGet, res.Header.Get("Location"), "").item(http.StatusOK))

	alice.unchanged(func() {
		p := alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a"}`).fails(http.StatusConflict, "ALREADY_EXISTS")
		require.Equal(t, "ALREADY_EXISTS", p.Error.Status)
		require.Equal(t, it.ID, p.Error.Details.ID)
		require.Equal(t, "preferences/"+it.ID, p.Error.Details.ResourceName)
	})
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"c","entityType":"account","order":2}`).item(http.StatusCreated)
	require.Equal(t, 2, alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"b","order":2}`).item(http.StatusCreated).Order)
	require.Equal(t, []string{`a:1{"x":1}`, "b:2", "c:3"}, alice.read().shown())
	alice.unchanged(func() {
		for field, members := range map[string]string{
			"order":      `"entityId":"d","order":5`,
			"entityType": `"entityId":"d","entityType":"contact"`,
			"attributes": `"entityId":"d","attributes":[]`,
			"entityId":   `"entityId":""`,
			"extra":      `"entityId":"d","extra":1`,
		} {
			alice.send(http.MethodPost, "/preferences", `{"domain":"accounts",`+members+`}`).fails(http.StatusBadRequest, "INVALID_FIELD", field)
		}
	})
}
