package api_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllThatIsWrongIsSaidAtOnce: the form of a body hides nothing of what its
// content breaks, and nothing is said twice about one value.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	w := begin(t)
	id := w.as("alice").save("kept").Preferences[0].ID
	writes := w.writes(id)
	for name, c := range map[string]struct {
		route, body, code string
		fields            []string
	}{
		"a save": {"replace", `{"domain":"accounts","typo":1,"preferences":[
			{"entityId":"a","order":1,"ordre":2},
			{"entityId":"a","order":"2"},
			{"entityId":"b c","order":1,"attributes":[]},
			{"entityId":7,"order":0,"entityType":"thing"},
			"text",
			{"entityId":"ok","order":9,"attributes":{"n":1e999},"domain":"other"}]}`, "INVALID_FIELD", []string{
			"typo", "preferences[0].ordre", "preferences[1].order", "preferences[3].entityId", "preferences[4]", "preferences[5].attributes.n",
			"preferences[5].domain", "preferences[1].entityId", "preferences[2].entityId", "preferences[2].order", "preferences[2].attributes",
			"preferences[3].order", "preferences[3].entityType",
		}},
		"a save by rules alone": {
			"replace", `{"domain":"nowhere","preferences":[{"entityId":"a","order":1,"domain":"x"},{"entityId":"a","order":1}]}`,
			"INVALID_FIELD",
			[]string{"preferences[0].domain", "domain", "preferences[1].entityId", "preferences[1].order"},
		},
		"a save without a list": {"replace", `{"domain":3}`, "INVALID_FIELD", []string{"domain", "preferences"}},
		"a save of no list":     {"replace", `{"domain":"accounts","preferences":{}}`, "INVALID_FIELD", []string{"preferences"}},
		"no object":             {"replace", `[]`, "INVALID_FIELD", []string{"$"}},
		"an item": {
			"create", `{"domain":"nowhere","entityId":"","order":-1,"attributes":null,"x":1}`,
			"INVALID_FIELD",
			[]string{"x", "domain", "entityId", "order", "attributes"},
		},
		"an item by rules alone": {"create", `{"domain":"nowhere","entityId":"?"}`, "UNKNOWN_DOMAIN", []string{"domain", "entityId"}},
		"a patch":                {"patch", `{"order":0,"attributes":"x","entityId":1}`, "INVALID_FIELD", []string{"entityId", "order", "attributes"}},
		"a clean":                {"clean", `{"entityId":"?","reorder":1}`, "INVALID_FIELD", []string{"reorder", "entityType", "entityId"}},
		"what is no JSON":        {"replace", `{"domain":"nowhere","domain":"x","preferences":[{"entityId":""}]}`, "INVALID_JSON", []string{"domain"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.unchanged(func() {
				route := writes[c.route]
				p := route.caller.in(t).send(route.method, route.target, c.body).fails(http.StatusBadRequest, c.code)
				var named []string
				for _, v := range p.Error.Details.FieldViolations {
					named = append(named, v.Field)
				}
				slices.Sort(named)
				slices.Sort(c.fields)
				require.Equal(t, c.fields, named)
			})
		})
	}
}
