package config

import (
	"fmt"
	"log/slog"
)

// hidden stands for the value of a secret wherever it is printed.
const hidden = "[secret]"

// Secret is a string that does not print itself: not through fmt, log/slog or
// encoding/json, alone or inside other values. Keep it in exported fields; fmt
// reads unexported ones past all methods.
type Secret string

// Reveal returns the value, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the value; an empty secret shows that it is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// Format hides the value from every verb of fmt.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	switch {
	case verb == 'v' && f.Flag('#'):
		text = s.GoString()
	case verb == 'q':
		text = fmt.Sprintf("%q", text)
	}
	_, _ = f.Write([]byte(text)) // fmt.State keeps its own errors
}

// MarshalText hides the value from JSON, also inside a logged struct, where slog
// does not call LogValue.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
