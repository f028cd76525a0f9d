// Package ijson reads JSON strictly. It accepts I-JSON (RFC 7493) and nothing
// else: valid UTF-8 without a byte order mark, no member name twice, no text that
// PostgreSQL or a JavaScript client could not hold, no number that a double does
// not carry. Member names are compared exactly and unknown ones are refused.
//
// A document is read once. Everything wrong with it is collected, with the path
// of the offending value, and returned as one fault.
package ijson

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

// Limits that hold unless an option changes them.
const (
	DefaultMaxDepth = 16
	DefaultMaxItems = 10_000
)

// OutputOnly is implemented by targets whose members a caller may echo back
// although it cannot set them. Such members are checked, then ignored.
type OutputOnly interface {
	// OutputOnly lists the member names that are ignored in input.
	OutputOnly() []string
}

type options struct {
	maxDepth     int
	maxItems     int
	allowUnknown bool
	nullIsAbsent bool
}

// Option changes how a document is read.
type Option func(*options)

// MaxDepth limits how deep arrays and objects nest in values of free form: the
// whole document of Check, each json.RawMessage or any of Decode. How deep the
// rest of a decoded document goes is decided by the target.
func MaxDepth(n int) Option { return func(o *options) { o.maxDepth = n } }

// MaxItems limits how many elements an array that is decoded may have. Longer
// ones are refused without being held in memory.
func MaxItems(n int) Option { return func(o *options) { o.maxItems = n } }

// AllowUnknown ignores members that the target does not know, for documents
// whose writers may be newer than their reader.
func AllowUnknown() Option { return func(o *options) { o.allowUnknown = true } }

// NullIsAbsent reads null as if the member were not there. Without it null is
// refused everywhere but in json.RawMessage and any.
func NullIsAbsent() Option { return func(o *options) { o.nullIsAbsent = true } }

// Decode reads the document into dst, a pointer to a struct, by its json tags.
// It returns a *fault.Error of code Invalid; then dst holds what could be read,
// and zero values for the rest. A json.RawMessage gets the bytes of its value: nil if the member was absent,
// null if it was null. Strings share one copy of the document: clone what is kept
// for long. Decode panics if dst has a type that it cannot fill.
func Decode(data []byte, dst any, opts ...Option) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic("ijson: the target must be a pointer")
	}
	decode := decoderOf(v.Type().Elem())
	return read(data, opts, func(p *parser) bool { return decode(p, v.Elem()) })
}

// Check reports what keeps the document from being I-JSON, as a *fault.Error of
// code Invalid.
func Check(data []byte, opts ...Option) error {
	return read(data, opts, (*parser).free)
}

func read(data []byte, opts []Option, root func(*parser) bool) error {
	p := &parser{
		options: options{maxDepth: DefaultMaxDepth, maxItems: DefaultMaxItems},
		src:     string(data), // one copy, which all names and texts share
	}
	for _, o := range opts {
		o(&p.options)
	}
	p.document(root)
	return p.fault()
}

// document reads exactly one value.
func (p *parser) document(root func(*parser) bool) {
	switch {
	case strings.HasPrefix(p.src, "\ufeff"):
		p.broken("it starts with a byte order mark")
		return
	case !utf8.ValidString(p.src):
		p.pos = firstInvalid(p.src)
		p.broken("it is not valid UTF-8")
		return
	}
	p.space()
	if p.pos == len(p.src) {
		p.broken("it is empty")
		return
	}
	if !root(p) {
		return
	}
	p.space()
	if p.pos < len(p.src) {
		p.broken("there is something after its end")
	}
}

func firstInvalid(s string) int {
	for i, r := range s {
		if r != utf8.RuneError {
			continue
		}
		if _, width := utf8.DecodeRuneInString(s[i:]); width == 1 {
			return i
		}
	}
	return len(s)
}
