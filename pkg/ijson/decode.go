package ijson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"

	"github.com/prefsd/prefsd/pkg/fault"
)

func decodeString(p *parser, v reflect.Value) bool {
	text, ok := p.text()
	if ok {
		v.SetString(text)
	}
	return ok
}

func decodeBool(p *parser, v reflect.Value) bool {
	word, ok := p.literal()
	if ok {
		v.SetBool(word == "true")
	}
	return ok
}

// decodeInt takes what is spelled as an integer: 1.0 and 1e2 are numbers, but
// whoever sends them for an integer computes with floats and will send 1.5 too.
func decodeInt(bits int) decoder {
	limit := int64(1)<<(bits-1) - 1
	return func(p *parser, v reflect.Value) bool {
		found := len(p.problems)
		text, ok := p.number()
		if !ok || len(p.problems) > found {
			return ok
		}
		if strings.ContainsAny(text, ".eE") {
			return p.report(wrong, "must be an integer, without a fraction or an exponent")
		}
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return p.report(wrong, "must be an integer between %d and %d", -limit-1, limit)
		}
		v.SetInt(n)
		return true
	}
}

func decodeFloat(bits int) decoder {
	return func(p *parser, v reflect.Value) bool {
		found := len(p.problems)
		text, ok := p.number()
		if !ok || len(p.problems) > found {
			return ok
		}
		f, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return p.report(wrong, "must be a number that fits into %d bits", bits)
		}
		v.SetFloat(f)
		return true
	}
}

func decodeRaw(p *parser, v reflect.Value) bool {
	raw, ok := p.raw()
	if ok {
		v.SetBytes([]byte(raw))
	}
	return ok
}

func decodeAny(p *parser, v reflect.Value) bool {
	found := len(p.problems)
	raw, ok := p.raw()
	if !ok || len(p.problems) > found {
		return ok
	}
	var value any
	if err := json.Unmarshal([]byte(raw), &value); err != nil {
		return p.report(malformed, "cannot be read")
	}
	if value != nil {
		v.Set(reflect.ValueOf(value))
	}
	return true
}

func decodePointer(decode decoder) decoder {
	return func(p *parser, v reflect.Value) bool {
		if p.nullIsAbsent && p.peek() == 'n' {
			_, ok := p.literal()
			return ok
		}
		v.Set(reflect.New(v.Type().Elem()))
		return decode(p, v.Elem())
	}
}

// decodeForeign leaves a value to a type that reads itself. What such a type
// says of it is shown only if it is a fault; other texts are not meant for
// callers.
func decodeForeign(p *parser, v reflect.Value) bool {
	if p.peek() == 'n' {
		if p.nullIsAbsent {
			_, ok := p.literal()
			return ok
		}
		return p.mismatch("a " + v.Type().Name())
	}
	found := len(p.problems)
	raw, ok := p.raw()
	if !ok || len(p.problems) > found {
		return ok
	}
	err := json.Unmarshal([]byte(raw), v.Addr().Interface())
	if err == nil {
		return true
	}
	if f, isFault := errors.AsType[*fault.Error](err); isFault {
		return p.report(wrong, "%s", f.Message)
	}
	return p.report(wrong, "must be a valid %s", v.Type().Name())
}

func decodeSlice(t reflect.Type, element decoder) decoder {
	return func(p *parser, v reflect.Value) bool {
		v.Set(reflect.MakeSlice(t, 0, 0)) // an empty array is not an absent one
		count := 0
		ok := p.inner(func() bool {
			return p.array(func(p *parser, i int) bool {
				count++
				if i >= p.maxItems {
					_, ok := p.raw()
					return ok
				}
				if i == v.Cap() {
					v.Grow(1)
				}
				v.SetLen(i + 1)
				return element(p, v.Index(i))
			})
		})
		if ok && count > p.maxItems {
			return p.report(crowded, "has %d elements, but may have %d at most", count, p.maxItems)
		}
		return ok
	}
}

func decodeMap(t reflect.Type, element decoder) decoder {
	if t.Key().Kind() != reflect.String {
		panic("ijson: the keys of a map must be strings")
	}
	return func(p *parser, v reflect.Value) bool {
		v.Set(reflect.MakeMap(t))
		count := 0
		ok := p.inner(func() bool {
			return p.object(func(p *parser, name string) bool {
				count++
				if count > p.maxItems {
					_, ok := p.raw()
					return ok
				}
				value := reflect.New(t.Elem()).Elem()
				if !element(p, value) {
					return false
				}
				v.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), value)
				return true
			})
		})
		if ok && count > p.maxItems {
			return p.report(crowded, "has %d members, but may have %d at most", count, p.maxItems)
		}
		return ok
	}
}
