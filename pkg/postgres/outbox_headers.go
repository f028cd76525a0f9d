package postgres

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// decodeHeaders reads headers as emit stores them: pairs of a name and a value
// in base64, or null.
func decodeHeaders(stored []byte) ([]outbox.Header, error) {
	if headers, ok := scanHeaders(stored); ok {
		return headers, nil
	}
	var pairs [][]*string
	if err := json.Unmarshal(stored, &pairs); err != nil {
		return nil, fmt.Errorf("stored headers are not a list of pairs: %w", err)
	}
	headers := make([]outbox.Header, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 || p[0] == nil {
			return nil, fmt.Errorf("stored header %d is not a pair", i)
		}
		headers[i].Name = *p[0]
		if p[1] == nil {
			continue
		}
		var err error
		if headers[i].Value, err = base64.StdEncoding.DecodeString(*p[1]); err != nil {
			return nil, fmt.Errorf("stored header %d: %w", i, err)
		}
	}
	return headers, nil
}

// scanHeaders reads headers in the spelling of jsonb, as long as no name needs
// an escape. In a backlog, encoding/json would be the better half of what a row
// costs to read.
func scanHeaders(stored []byte) ([]outbox.Header, bool) {
	rest, ok := bytes.CutPrefix(stored, []byte(`[[`))
	if !ok {
		return nil, false
	}
	headers := make([]outbox.Header, 0, 4)
	for {
		var h outbox.Header
		if h, rest, ok = cutHeader(rest); !ok {
			return nil, false
		}
		headers = append(headers, h)
		if string(rest) == `]]` {
			return headers, true
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(`], [`)); !ok {
			return nil, false
		}
	}
}

// cutHeader cuts what stands inside the brackets of a pair off the front.
func cutHeader(s []byte) (h outbox.Header, rest []byte, ok bool) {
	name, rest, ok := cutPlain(s)
	if !ok {
		return h, nil, false
	}
	h.Name = string(name)
	if rest, ok = bytes.CutPrefix(rest, []byte(`, `)); !ok {
		return h, nil, false
	}
	if after, null := bytes.CutPrefix(rest, []byte(`null`)); null {
		return h, after, true
	}
	value, rest, ok := cutPlain(rest)
	if !ok {
		return h, nil, false
	}
	h.Value = make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	n, err := base64.StdEncoding.Decode(h.Value, value)
	h.Value = h.Value[:n]
	return h, rest, err == nil
}

// cutPlain cuts a string off the front that stands for itself: printable ASCII
// without a backslash.
func cutPlain(s []byte) (plain, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		return nil, nil, false
	}
	for i, c := range s[1:] {
		switch {
		case c == '"':
			return s[1 : i+1], s[i+2:], true
		case c < ' ' || c > '~' || c == '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}
