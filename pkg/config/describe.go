package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// Describe returns the effective configuration for the log line that a binary
// writes at its start. Secrets show only whether they are set.
func Describe(cfg any) slog.Value {
	v := reflect.ValueOf(cfg)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return slog.AnyValue(cfg)
	}
	return slog.GroupValue(attributes(v)...)
}

func attributes(v reflect.Value) []slog.Attr {
	var attrs []slog.Attr
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		_, embedded := field.Tag.Lookup("embed")
		switch {
		case !field.IsExported(), field.Tag.Get("kong") == "-":
		case (embedded || field.Anonymous) && value.Kind() == reflect.Struct:
			prefix := snake(strings.TrimSuffix(field.Tag.Get("prefix"), "-"))
			for _, a := range attributes(value) {
				if prefix != "" {
					a.Key = prefix + "_" + a.Key
				}
				attrs = append(attrs, a)
			}
		default:
			name := field.Tag.Get("name")
			if name == "" {
				name = field.Name
			}
			attrs = append(attrs, slog.Attr{Key: snake(name), Value: shown(value.Interface())})
		}
	}
	return attrs
}

func shown(value any) slog.Value {
	switch v := value.(type) {
	case slog.LogValuer:
		return v.LogValue()
	case time.Duration:
		return slog.StringValue(v.String())
	case fmt.Stringer:
		return slog.StringValue(v.String())
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return slog.StringValue(err.Error())
		}
		return slog.StringValue(string(text))
	default:
		return slog.AnyValue(value)
	}
}

// snake turns http-addr, HTTPAddr and MaxConns into snake_case.
func snake(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case r == '-' || r == '.':
			b.WriteByte('_')
			continue
		case i > 0 && unicode.IsUpper(r):
			afterLower := unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1])
			beforeLower := unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if afterLower || beforeLower {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
