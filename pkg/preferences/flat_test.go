package preferences

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsualAttributesAreSpelledWithoutDecoding(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, out string // out is empty where it is left to others
	}{
		{`{}`, `{}`},
		{` {  } `, `{}`},
		{`{"label":"Everyday account","pinned":true}`, `{"label": "Everyday account", "pinned": true}`},
		{"{ \"a\" :\t1 ,\n\"b\":null,\"é\": \"ü\u2028\"}", `{"a": 1, "b": null, "é": "ü` + "\u2028" + `"}`},
		{`{"a":0,"b":-12,"c":999999999999999}`, `{"a": 0, "b": -12, "c": 999999999999999}`},
		{`{` + many(MaxAttributesKeys) + `}`, `{` + many(MaxAttributesKeys) + `}`},
		{`{"":"","x":false}`, `{"": "", "x": false}`},

		{`{"b":1,"a":2}`, ``},
		{`{"aa":1,"b":2}`, ``},
		{`{"a":1,"a":2}`, ``},
		{`{"a":[]}`, ``},
		{`{"a":{}}`, ``},
		{`{"a":"\n"}`, ``},
		{`{"a\u0062":1}`, ``},
		{`{"a":1.0}`, ``},
		{`{"a":1e2}`, ``},
		{`{"a":-0}`, ``},
		{`{"a":01}`, ``},
		{`{"a":-}`, ``},
		{`{"a":1234567890123456}`, ``},
		{`{"a":1,}`, ``},
		{`{"a":truer}`, ``},
		{`{"a":1}}`, ``},
		{`{"a":1`, ``},
		{`{"a":"x`, ``},
		{`{"a"}`, ``},
		{`["a"]`, ``},
		{"{\"a\":\"\xff\"}", ``},
		{`{"` + strings.Repeat("é", MaxAttributesKeyLength+1) + `":1}`, ``},
		{`{` + many(MaxAttributesKeys+1) + `}`, ``},
	} {
		out, ok := spelledFlat([]byte(tc.in))
		require.Equal(t, tc.out != "", ok, tc.in)
		if ok {
			require.Equal(t, tc.out, string(out), tc.in)
		}
	}
}

func FuzzSpelledWithoutDecodingIsSpelled(f *testing.F) {
	f.Add([]byte(`{"label": "é","pinned":true,"rank": -12}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, ok := spelledFlat(in)
		if !ok {
			return
		}
		var v any
		require.NoError(t, json.Unmarshal(in, &v))
		names := 0
		require.Empty(t, checkValue(v, 1, &names))
		require.Equal(t, string(spelledValue(v, len(in))), string(out))
	})
}

// many is so many names with their values.
func many(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"%03d": %d`, i, i)
	}
	return strings.Join(members, ", ")
}
