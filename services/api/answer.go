package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

var typeJSON = []string{"application/json; charset=utf-8"}

// appender is a body that knows its own spelling.
type appender interface {
	appendJSON(b []byte) []byte
}

// buffers are what answers are written into before they go out. They hold a
// pointer, because a slice would be copied to the heap each time.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxKept is the largest buffer that goes back to the pool.
const maxKept = 256 << 10

func buffer() *[]byte {
	if buf, ok := buffers.Get().(*[]byte); ok {
		return buf
	}
	return new([]byte)
}

func recycle(buf *[]byte) {
	if cap(*buf) <= maxKept {
		buffers.Put(buf)
	}
}

// answer spells a body and writes it.
func answer(c echo.Context, status int, body any) error { return answerAs(c, status, typeJSON, body) }

func answerAs(c echo.Context, status int, contentType []string, body any) error {
	buf := buffer()
	defer recycle(buf)
	text, err := encode((*buf)[:0], body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	*buf = text
	return send(c, status, contentType, text)
}

// errUnread says that an answer found nobody at the other end: its caller hung
// up, which the request's context may learn a moment later.
var errUnread = errors.New("the answer could not be delivered")

// encode appends a body and the end of its line, for people at a terminal. Text
// is not escaped for HTML, which nothing here is.
func encode(b []byte, body any) ([]byte, error) {
	if a, ok := body.(appender); ok {
		return append(a.appendJSON(b), '\n'), nil
	}
	text := bytes.NewBuffer(b)
	enc := json.NewEncoder(text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(body)
	return text.Bytes(), err
}

// appendMember appends a name, with what stands before it, and a string.
func appendMember(b []byte, name, value string) []byte {
	return appendString(append(b, name...), value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	return strconv.AppendInt(append(b, name...), value, 10)
}

func appendTime(b []byte, name string, value time.Time) []byte {
	b = append(append(b, name...), '"')
	return append(value.AppendFormat(b, time.RFC3339Nano), '"')
}

// appendString appends a string in quotes. Ids, names and tags need no escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string always has a spelling
			}
			return append(b, quoted...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// appendCompact appends JSON without the spaces that PostgreSQL puts after
// colons and commas. Names, their order and numbers stay as they are stored.
func appendCompact(b []byte, text []byte) []byte {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' && !quoted:
			continue
		case c == '"':
			quoted = !quoted
		case c == '\\' && i+1 < len(text):
			b = append(b, c) // what follows it says nothing about quotes
			i++
		}
		b = append(b, text[i])
	}
	return b
}
