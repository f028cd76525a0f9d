package preferences

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// spelled writes JSON the way PostgreSQL's jsonb gives it back: names by
// length and then by byte, one space after colon and comma, numbers as numeric
// prints them. So the answer to a write equals every later read, byte by byte.
func spelled(b json.RawMessage) json.RawMessage {
	var v any
	if json.Unmarshal(b, &v) != nil {
		return b
	}
	return spelledValue(v, len(b))
}

// spelledValue is spelled for what has been decoded already; size is that of
// the text.
func spelledValue(v any, size int) json.RawMessage {
	var out bytes.Buffer
	out.Grow(size + size/4)
	spell(&out, v)
	return out.Bytes()
}

// leastSpelled is a size that spelled reaches, found without decoding anything:
// blanks and numbers count for nothing, and an escape for one byte.
func leastSpelled(b []byte) (size int) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			if i++; i < len(b) && b[i] == 'u' {
				i += len("0000")
			}
			size++
		case c == '"':
			quoted = !quoted
			size++
		case quoted:
			size++
		case c == ':' || c == ',':
			size += len(": ")
		case c == '{' || c == '}' || c == '[' || c == ']' || 'a' <= c && c <= 'z' && c != 'e':
			size++
		}
	}
	return size
}

func spell(out *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		spellObject(out, v)
	case []any:
		out.WriteByte('[')
		for i, element := range v {
			if i > 0 {
				out.WriteString(", ")
			}
			spell(out, element)
		}
		out.WriteByte(']')
	case string:
		spellString(out, v)
	case float64:
		// Adding 0 turns -0 into 0: numeric knows no negative zero.
		out.WriteString(strconv.FormatFloat(v+0, 'f', -1, 64))
	case bool:
		out.WriteString(strconv.FormatBool(v))
	default:
		out.WriteString("null")
	}
}

func spellObject(out *bytes.Buffer, v map[string]any) {
	names := slices.SortedFunc(maps.Keys(v), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	out.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			out.WriteString(", ")
		}
		spellString(out, name)
		out.WriteString(": ")
		spell(out, v[name])
	}
	out.WriteByte('}')
}

// shortEscapes are the escapes that jsonb prints for control characters; the
// others it prints as \u00xx.
var shortEscapes = map[byte]byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '"': '"', '\\': '\\'}

func spellString(out *bytes.Buffer, s string) {
	const hex = "0123456789abcdef"
	out.WriteByte('"')
	for i := range len(s) {
		c := s[i]
		switch short, found := shortEscapes[c]; {
		case c > '\\' || c >= ' ' && !found:
			out.WriteByte(c)
		case found:
			out.Write([]byte{'\\', short})
		default:
			out.Write([]byte{'\\', 'u', '0', '0', hex[c>>4], hex[c&15]})
		}
	}
	out.WriteByte('"')
}

// sameJSON compares values, not spellings: a client may send back 1.0 where
// jsonb keeps 1.0, and 1e2 where it keeps 100.
func sameJSON(a, b json.RawMessage) bool {
	return sameButSpace(a, b) || bytes.Equal(spelled(a), spelled(b))
}

// sameButSpace is the usual case without decoding: what jsonb gives back
// against what a client sends in the same order of names.
func sameButSpace(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	quoted := false
	for i, j := 0, 0; ; i, j = i+1, j+1 {
		if !quoted {
			i, j = skipSpace(a, i), skipSpace(b, j)
		}
		if i == len(a) || j == len(b) {
			return i == len(a) && j == len(b)
		}
		if a[i] != b[j] {
			return false
		}
		switch {
		case a[i] == '"':
			quoted = !quoted
		case quoted && a[i] == '\\' && i+1 < len(a) && j+1 < len(b):
			if i, j = i+1, j+1; a[i] != b[j] {
				return false
			}
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	return i
}

// object decodes one level of an object; anything else has no members.
func object(b json.RawMessage) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	if json.Unmarshal(b, &m) != nil || m == nil {
		return map[string]json.RawMessage{}
	}
	return m
}

// merge applies a JSON merge patch (RFC 7396).
func merge(target, patch json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if patch = bytes.TrimSpace(patch); !bytes.HasPrefix(patch, []byte("{")) {
		return patch
	}
	if json.Unmarshal(patch, &members) != nil {
		return patch
	}
	out := object(target)
	for name, value := range members {
		if string(bytes.TrimSpace(value)) == "null" {
			delete(out, name)
			continue
		}
		out[name] = merge(out[name], value)
	}
	merged, err := json.Marshal(out)
	if err != nil {
		return patch // unreachable: every member was decoded from JSON
	}
	return merged
}
