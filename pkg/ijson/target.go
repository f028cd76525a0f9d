package ijson

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// decoder reads the value at pos into a target of the type it was built for.
type decoder func(p *parser, v reflect.Value) bool

// decoders holds a decoder for each type that was ever a target.
var decoders sync.Map

func decoderOf(t reflect.Type) decoder {
	if known, ok := decoders.Load(t); ok {
		if d, isDecoder := known.(decoder); isDecoder {
			return d
		}
	}
	d := builder{}.build(t)
	decoders.Store(t, d)
	return d
}

var (
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// builder remembers the structs on the way, so that a type may contain itself.
type builder map[reflect.Type]*shape

func (b builder) build(t reflect.Type) decoder {
	pointer := reflect.PointerTo(t)
	switch {
	case t == rawMessage:
		return decodeRaw
	case t.Kind() == reflect.Pointer:
		return decodePointer(b.build(t.Elem()))
	case pointer.Implements(jsonUnmarshaler), pointer.Implements(textUnmarshaler):
		return decodeForeign
	}
	switch t.Kind() {
	case reflect.Struct:
		return expecting("an object", "{", b.shapeOf(t).decode)
	case reflect.Slice:
		return expecting("an array", "[", decodeSlice(t, b.build(t.Elem())))
	case reflect.Map:
		return expecting("an object", "{", decodeMap(t, b.build(t.Elem())))
	case reflect.String:
		return expecting("a string", `"`, decodeString)
	case reflect.Bool:
		return expecting("true or false", "tf", decodeBool)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return expecting("an integer", "-0123456789", decodeInt(t.Bits()))
	case reflect.Float32, reflect.Float64:
		return expecting("a number", "-0123456789", decodeFloat(t.Bits()))
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return decodeAny
		}
	default:
	}
	panic(fmt.Sprintf("ijson: a target of type %s cannot be filled", t))
}

// expecting guards a decoder: a value that starts otherwise is skipped and
// reported.
func expecting(want, starts string, decode decoder) decoder {
	return func(p *parser, v reflect.Value) bool {
		first := p.peek()
		switch {
		case strings.IndexByte(starts, first) >= 0:
			return decode(p, v)
		case first == 'n' && p.nullIsAbsent:
			_, ok := p.literal()
			return ok
		default:
			return p.mismatch(want)
		}
	}
}

// mismatch skips the value at pos, which is not what the target wants.
func (p *parser) mismatch(want string) bool {
	got := kindOf(p.peek())
	if _, ok := p.raw(); !ok {
		return false
	}
	if got == "null" {
		return p.report(wrong, "must be %s, not null; leave it out to say nothing", want)
	}
	return p.report(wrong, "must be %s, but is %s", want, got)
}

func kindOf(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// shape is what is known of a struct.
type shape struct {
	fields  map[string]field
	ignored map[string]struct{}
	known   string // the names of fields, for people
}

type field struct {
	index  []int
	decode decoder
}

func (b builder) shapeOf(t reflect.Type) *shape {
	if s, ok := b[t]; ok {
		return s
	}
	s := &shape{fields: map[string]field{}, ignored: map[string]struct{}{}}
	b[t] = s
	if o, ok := reflect.New(t).Interface().(OutputOnly); ok {
		for _, name := range o.OutputOnly() {
			s.ignored[name] = struct{}{}
		}
	}
	s.known = strings.Join(b.collect(s, t, nil), ", ")
	return s
}

// collect adds the fields of a struct, those of embedded ones included, and
// returns their names in order.
func (b builder) collect(s *shape, t reflect.Type, parents []int) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(slices.Clip(parents), i)
		switch {
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct:
			names = append(names, b.collect(s, f.Type, index)...)
			continue
		case !f.IsExported(), tag == "-":
			continue
		case slices.Contains(strings.Split(options, ","), "string"):
			panic(fmt.Sprintf("ijson: %s.%s: the string option is not supported", t, f.Name))
		case tag == "":
			tag = f.Name
		}
		if _, taken := s.fields[tag]; taken {
			panic(fmt.Sprintf("ijson: %s has two members named %s", t, tag))
		}
		s.fields[tag] = field{index: index, decode: b.build(f.Type)}
		names = append(names, tag)
	}
	return names
}

func (s *shape) decode(p *parser, v reflect.Value) bool {
	return p.inner(func() bool {
		return p.object(func(p *parser, name string) bool {
			if f, ok := s.fields[name]; ok {
				return f.decode(p, v.FieldByIndex(f.index))
			}
			if _, ok := p.raw(); !ok {
				return false
			}
			if _, ok := s.ignored[name]; ok || p.allowUnknown {
				return true
			}
			return p.report(wrong, "%s", s.unknown(name))
		})
	})
}

func (s *shape) unknown(name string) string {
	for known := range s.fields {
		if strings.EqualFold(known, name) {
			return "is not known here; it is spelled " + known
		}
	}
	return "is not known here; known are " + s.known
}

// inner reads one container that belongs to the target.
func (p *parser) inner(read func() bool) bool {
	if p.nested == maxNested {
		p.report(malformed, "nests deeper than %d levels", maxNested)
		return false
	}
	p.nested++
	ok := read()
	p.nested--
	return ok
}
