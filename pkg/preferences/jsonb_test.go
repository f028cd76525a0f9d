package preferences

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/ijson"
)

func TestSpelledIsHowJSONBPrints(t *testing.T) {
	t.Parallel()
	for in, out := range map[string]string{
		`{}`:                             `{}`,
		`{"bb":1,"a":2,"B":3}`:           `{"B": 3, "a": 2, "bb": 1}`,
		`{"a":[1,-0,1.50,1e3,1e-2]}`:     `{"a": [1, 0, 1.5, 1000, 0.01]}`,
		`{"a":{"x":null,"y":[]},"b":{}}`: `{"a": {"x": null, "y": []}, "b": {}}`,
		"{\"a\":\"\\u0001\\b\\f\\n\\r\\t\\u007f\\\"\\\\/<é\\u2028\"}": "{\"a\": \"\\u0001\\b\\f\\n\\r\\t\u007f\\\"\\\\/<é\u2028\"}",
		`{"a":true,"b":false}`: `{"a": true, "b": false}`,
	} {
		require.Equal(t, out, string(spelled(json.RawMessage(in))))
		require.Equal(t, out, string(spelled(json.RawMessage(out))), "spelling twice changes nothing")
	}
}

func TestSameJSONComparesValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{`{"a":1}`, `{"a": 1}`, true},
		{`{"a":1,"b":2}`, `{"b": 2, "a": 1}`, true},
		{`{"a":1.0}`, `{"a": 1}`, true},
		{`{"a":"x y"}`, `{"a": "xy"}`, false},
		{`{"a":"\""}`, `{"a": "\""}`, true},
		{`{"a":"\\"}`, `{"a": "\""}`, false},
		{`{"a":1}`, `{"a": 1, "b": 2}`, false},
		{`{"a":1}`, ``, false},
		{`{"a":"é"}`, `{"a": "\u00e9"}`, true},
	} {
		require.Equal(t, tc.same, sameJSON(json.RawMessage(tc.a), json.RawMessage(tc.b)), "%s against %s", tc.a, tc.b)
		require.Equal(t, tc.same, sameJSON(json.RawMessage(tc.b), json.RawMessage(tc.a)), "%s against %s", tc.b, tc.a)
	}
}

// TestBlanksBetweenValuesMakeNoDifference: what is the same otherwise is found
// without decoding it.
func TestBlanksBetweenValuesMakeNoDifference(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{``, ``, true},
		{`{"a":[1,true]}`, `{"a": [1, true]}`, true},
		{`{"a":"x y"}`, `{"a": "x y"}`, true},
		{`{"a":"x y"}`, `{"a": "xy"}`, false},
		{`{"a":1}`, `{"a": 2}`, false},
		{`{"a":1}`, `{"a": 1`, false},
		{`{"a":"\" b"}`, `{"a": "\" b"}`, true},
		{`{"a":"\" b"}`, `{"a": "\"b"}`, false},
		{`{"a":"\n"}`, `{"a": "\t"}`, false},
		{`{"a":"\\", "b":1}`, `{"a": "\\","b": 1}`, true},
	} {
		require.Equal(t, tc.same, sameButSpace([]byte(tc.a), []byte(tc.b)), "%s against %s", tc.a, tc.b)
		require.Equal(t, tc.same, sameButSpace([]byte(tc.b), []byte(tc.a)), "%s against %s", tc.b, tc.a)
	}
}

func TestTheSizeIsFoundWithoutDecoding(t *testing.T) {
	t.Parallel()
	for in, size := range map[string]int{
		`{}`:                      len(`{}`),
		`{"a":"b c"}`:             len(`{"a": "b c"}`),
		`{"a" : [null , {}]}`:     len(`{"a": [null, {}]}`),
		`{"a":"\u0041\u0042"}`:    len(`{"a": "AB"}`),
		`{"a":"\n\"x"}`:           len(`{"a": "nqx"}`),      // an escape counts for one
		`{"a":[1.5e300,-2,null]}`: len(`{"a": [, , null]}`), // a number for nothing
	} {
		require.Equal(t, size, leastSpelled([]byte(in)), in)
	}
}

func TestMergePatchOfRFC7396(t *testing.T) {
	t.Parallel()
	for _, tc := range [][3]string{ // appendix A of the RFC: target, patch, result
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		require.JSONEq(t, tc[2], string(merge(json.RawMessage(tc[0]), json.RawMessage(tc[1]))), "%s + %s", tc[0], tc[1])
	}
}

func FuzzSpelledKeepsTheValue(f *testing.F) {
	f.Add(`{"a":1.5e3,"b":["x\u0007"]}`)
	f.Fuzz(func(t *testing.T, in string) {
		var want, got any
		if json.Unmarshal([]byte(in), &want) != nil {
			return
		}
		out := spelled(json.RawMessage(in))
		require.NoError(t, json.Unmarshal(out, &got))
		require.Equal(t, want, got)
		require.Equal(t, string(out), string(spelled(out)))
		require.True(t, sameJSON(json.RawMessage(in), out))
	})
}

func FuzzMergeKeepsWhatIsNotNamed(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":2}}`, `{"b":{"c":null}}`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		before, named := object(json.RawMessage(target)), map[string]json.RawMessage{}
		if json.Unmarshal([]byte(patch), &named) != nil || named == nil {
			return
		}
		after := object(merge(json.RawMessage(target), json.RawMessage(patch)))
		for k, v := range before {
			if _, ok := named[k]; !ok {
				require.True(t, sameJSON(v, after[k]))
			}
		}
		for k, v := range named {
			_, there := after[k]
			require.Equal(t, string(v) != "null", there)
		}
	})
}

// byTheBook is the merge of RFC 7396 section 2.
func byTheBook(target, patch any) any {
	members, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out, ok := target.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = byTheBook(out[name], value)
		}
	}
	return out
}

func FuzzMergeGoesByTheBook(f *testing.F) {
	f.Add(`{"a":{"b":"c"},"d":[1]}`, `{"a":{"b":null,"e":{"f":null}},"d":{"g":1}}`)
	f.Add(`{"a":1}`, `[]`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		var stored map[string]any
		var change any
		if json.Unmarshal([]byte(target), &stored) != nil || stored == nil || json.Unmarshal([]byte(patch), &change) != nil {
			return
		}
		var got any
		merged := merge(json.RawMessage(target), json.RawMessage(patch))
		require.NoError(t, json.Unmarshal(merged, &got))
		require.Equal(t, byTheBook(stored, change), got)
		require.True(t, sameJSON(merged, merge(merged, json.RawMessage(patch))), "a patch that has been applied changes nothing")
	})
}

func FuzzLeastSpelledIsNotMoreThanSpelled(f *testing.F) {
	for _, in := range []string{`{"a" : [true, false, null, -1.5e3], "\u0041\n\ud83d\ude00": "\\\"é"}`, `{}`, `"`, `"\`, `[1E5]`} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		least := leastSpelled(in)
		if ijson.Check(in) == nil {
			require.LessOrEqual(t, least, len(spelled(in)))
		}
	})
}
