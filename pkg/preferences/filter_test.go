package preferences

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

func TestAFilterComparesValues(t *testing.T) {
	t.Parallel()
	it := Item{EntityType: "account", EntityID: "1000", Attributes: json.RawMessage(
		`{"n": 100, "s": "100", "t": true, "z": null, "é": "ü", "say": "\"hi\"", "a.b": 0, "o": {"x": 1}, "big": 9007199254740993}`)}
	for text, want := range map[string]bool{
		"entityId = 1000":                      true,
		`entityId = "1000"`:                    true,
		"entityId = 1e3":                       false, // an id is text
		"entityType = account":                 true,
		"entityType = Account":                 false,
		"attributes.n = 100":                   true,
		"attributes.n = 1e2":                   true,
		"attributes.n = 100.0":                 true,
		`attributes.n = "100"`:                 false,
		"attributes.s = 100":                   false,
		`attributes.s = '100'`:                 true,
		"attributes.t = true":                  true,
		"attributes.t = false":                 false,
		`attributes.t = "true"`:                false,
		"attributes.t = TRUE":                  false,
		"attributes.z = null":                  true,
		"attributes.none = null":               false,
		`attributes."é" = "ü"`:                 true,
		`attributes.say = '"hi"'`:              true,
		`attributes."a.b" = 0`:                 true,
		`attributes."a.b" = -0`:                true,
		`attributes.o = "x"`:                   false,
		"entityId=1000 AND attributes.t=true":  true,
		"entityId=1000 AND attributes.t=false": false,
		"attributes.t=false AND entityId=1000": false,
		"attributes.n=100 AND attributes.s=1":  false,
	} {
		f, err := ParseFilter(text)
		require.NoError(t, err, text)
		require.Equal(t, want, f.Matches(it), text)
	}
	require.True(t, Filter{}.Matches(it))
}

func TestAFilterKnowsItsFields(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("entityId = a AND ", MaxFilterTerms) + "entityId = a"
	for text, says := range map[string]string{
		"order = 1":                    "at character 1: must be entityId, entityType or attributes.<key>",
		"entityId = a AND id = b":      "at character 18: must be entityId",
		"entityId.x = b":               "at character 1: ",
		"attributes = b":               "at character 1: ",
		"attributes.a.b = 1":           "at character 1: ",
		"":                             "at character 1: must name a field",
		"entityId = a OR entityId = b": "at character 14: must have AND",
		many:                           "at character 341: must end here; a filter holds at most 20",
		"ENTITYID = a":                 "at character 1: ",
	} {
		_, err := ParseFilter(text)
		require.Equal(t, fault.ReasonInvalidField, fault.ReasonOf(err), text)
		require.ErrorContains(t, err, "filter: "+says, text)
	}
}

// FuzzFilter holds that a filter for what an item has finds it, however it is
// spelt.
func FuzzFilter(f *testing.F) {
	f.Add("key", `"value"`)
	f.Add("a.b", `1.50`)
	f.Add("é\\", `{"x":[1]}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		attributes, err := json.Marshal(map[string]json.RawMessage{key: json.RawMessage(value)})
		var v any
		if err != nil || json.Unmarshal(attributes, &map[string]json.RawMessage{}) != nil || json.Unmarshal([]byte(value), &v) != nil {
			return
		}
		it := Item{Attributes: spelled(attributes)}
		text, isText := v.(string)
		if !isText {
			text = value
		}
		quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
		f, err := ParseFilter("attributes." + quote(key) + " = " + quote(text))
		if err != nil {
			return // not UTF-8
		}
		var keys map[string]any
		require.NoError(t, json.Unmarshal(it.Attributes, &keys))
		_, kept := keys[key]
		require.Equal(t, isText && kept, f.Matches(it), "%s %s", it.Attributes, f.text)
	})
}
