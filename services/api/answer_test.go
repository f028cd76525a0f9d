package api_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

// FuzzAppendCompact: what is spelled by hand is what encoding/json would spell.
func FuzzAppendCompact(f *testing.F) {
	for _, text := range []string{`{}`, `{"a": 1, "b": [1, 2, "x, y: z"]}`, `{"q\"": "\\", "s": "\\\""}`, `{"": " "}`, `[ ]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want bytes.Buffer
		if json.Compact(&want, text) != nil || bytes.ContainsAny(text, "\n\r\t") {
			t.Skip("nothing that the database would send")
		}
		require.Equal(t, want.String(), string(api.AppendCompact(nil, text)))
	})
}

// FuzzAppendString: every string comes back from its spelling.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "acc-001", `quo"te`, `back\slash`, "é🎉", "\x00\x1f\x7f", "<&>", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip("no text")
		}
		var back string
		require.NoError(t, json.Unmarshal(api.AppendString(nil, s), &back))
		require.Equal(t, s, back)
	})
}
