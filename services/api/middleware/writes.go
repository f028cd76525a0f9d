package middleware

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Headers by which a writer protects itself.
const (
	headerUnmodified = "If-Unmodified-Since"
	headerKey        = "Idempotency-Key"
)

// MaxIdempotencyKey is the longest key, in characters.
const MaxIdempotencyKey = 255

// Writes reads by what else than conditions a writer protects itself. What this
// server does not know it must not act on as if it held.
func Writes(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return next(c)
		}
		if len(r.Header[headerUnmodified]) > 0 {
			return fault.New(fault.Invalid, fault.ReasonInvalidField, "%s is not supported.", headerUnmodified).
				Violating(fault.Violation{Field: headerUnmodified, Description: "must be left out; If-Match makes a write safe"})
		}
		if lines := r.Header[headerKey]; len(lines) > 0 {
			key, ok := idempotencyKey(lines)
			if !ok {
				return fault.New(fault.Invalid, fault.ReasonInvalidField, "The Idempotency-Key cannot be read.").
					Violating(fault.Violation{Field: headerKey, Description: "must be one string of 1 to 255 visible ASCII characters and spaces in double quotes, or a token without them"})
			}
			Of(c).IdempotencyKey = key
		}
		return next(c)
	}
}

// idempotencyKey reads a string of RFC 8941, as the header's specification
// wants it, or the token that many clients send instead. Both spellings of one
// key are the same.
func idempotencyKey(lines []string) (key string, ok bool) {
	if len(lines) != 1 {
		return "", false
	}
	text := strings.Trim(lines[0], " ")
	if inner, is := strings.CutPrefix(text, `"`); is {
		key, ok = quotedString(inner)
	} else {
		key, ok = text, strings.Trim(text, tokenBytes) == ""
	}
	return key, ok && key != "" && len(key) <= MaxIdempotencyKey
}

// tokenBytes are those of a token of RFC 8941, a UUID or base64.
const tokenBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~:/="

// quotedString reads the rest of a string whose first quote was read. Nothing
// may follow it.
func quotedString(text string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return out.String(), i == len(text)-1
		case c == '\\':
			i++
			if i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			out.WriteByte(text[i])
		case c < ' ' || c > '~':
			return "", false
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}
