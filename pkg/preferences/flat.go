package preferences

import (
	"bytes"
	"cmp"
	"unicode/utf8"
)

// maxWhole is how many digits a number may have that a double surely carries.
const maxWhole = 15

// flat spells an object while it reads it.
type flat struct{ in, out []byte }

// spelledFlat spells what attributes nearly always are without decoding them: an
// object of texts, whole numbers, booleans and nulls, whose names are in the
// order of jsonb, and which is within the limits. Of anything else it says that
// it is not ok, which is no verdict.
func spelledFlat(b []byte) (out []byte, ok bool) {
	if len(b) > MaxAttributesBytes || !utf8.Valid(b) {
		return nil, false
	}
	f := flat{in: b, out: make([]byte, 0, len(b)+len(b)/8)}
	ok = f.object() && len(f.in) == 0 && len(f.out) <= MaxAttributesBytes
	return f.out, ok
}

func (f *flat) object() bool {
	if !f.take('{', "{") {
		return false
	}
	if f.take('}', "}") {
		return true
	}
	var last []byte
	for range MaxAttributesKeys {
		name, ok := f.text()
		if !ok || utf8.RuneCount(name) > MaxAttributesKeyLength || last != nil && !ascends(last, name) {
			return false
		}
		last = name
		if !f.take(':', ": ") || !f.value() {
			return false
		}
		if f.take('}', "}") {
			return true
		}
		if !f.take(',', ", ") {
			return false
		}
	}
	return false
}

// ascends says whether jsonb keeps the name a before b.
func ascends(a, b []byte) bool {
	return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a, b)) < 0
}

func (f *flat) value() bool {
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(f.in, []byte(word)) {
			f.move(len(word))
			return true
		}
	}
	if f.whole() {
		return true
	}
	_, ok := f.text()
	return ok
}

// whole takes a number that is spelled in one way only.
func (f *flat) whole() bool {
	sign := 0
	if bytes.HasPrefix(f.in, []byte("-")) {
		sign = 1
	}
	end := sign
	for end < len(f.in) && '0' <= f.in[end] && f.in[end] <= '9' {
		end++
	}
	digits := f.in[sign:end]
	if len(digits) == 0 || len(digits) > maxWhole || digits[0] == '0' && end > 1 {
		return false
	}
	f.move(end) // a fraction or an exponent is no mark that may follow
	return true
}

// text takes one without escapes, and returns what is between its quotes.
func (f *flat) text() (text []byte, ok bool) {
	if !bytes.HasPrefix(f.in, []byte(`"`)) {
		return nil, false
	}
	for i := 1; i < len(f.in); i++ {
		switch c := f.in[i]; {
		case c == '"':
			text = f.in[1:i]
			f.move(i + 1)
			return text, true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// take reads a mark and the blanks round it, and writes how jsonb spells it.
func (f *flat) take(mark byte, spelled string) bool {
	rest := trimBlanks(f.in)
	if len(rest) == 0 || rest[0] != mark {
		return false
	}
	f.in, f.out = trimBlanks(rest[1:]), append(f.out, spelled...)
	return true
}

// move reads so many bytes and writes them.
func (f *flat) move(n int) { f.in, f.out = f.in[n:], append(f.out, f.in[:n]...) }

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}
