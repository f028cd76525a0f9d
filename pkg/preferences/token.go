package preferences

import (
	"crypto/sha256"
	"encoding/base64"
)

// sumLength is how much of a checksum a token carries: it is there to find
// mistakes, not to keep secrets; a token opens nothing that its user may not
// read anyway.
const sumLength = 8

// seal makes a token of a content. It is good only for what it is bound to.
func seal(bound, content []byte) string {
	raw := make([]byte, 0, 64)
	raw = append(raw, checksum(bound, content)...)
	return base64.RawURLEncoding.EncodeToString(append(raw, content...))
}

// unseal returns the content of a token; false if it was altered, or is bound
// to something else.
func unseal(bound []byte, token string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < sumLength || string(raw[:sumLength]) != string(checksum(bound, raw[sumLength:])) {
		return nil, false
	}
	return raw[sumLength:], true
}

func checksum(bound, content []byte) []byte {
	text := make([]byte, 0, 256)
	text = append(append(append(text, bound...), '|'), content...)
	sum := sha256.Sum256(text)
	return sum[:sumLength]
}
