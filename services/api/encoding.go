package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/precondition"
)

// worthwhile is the least size of a body that is compressed: what fits into one
// packet does not travel faster when it is smaller.
const worthwhile = 1400

var codingGzip = []string{"gzip"}

// deflaters are costly to make and cheap to use again.
var deflaters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// sink collects what is written to it.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

// send writes a body with its length, compressed for callers who want it so.
//
// Echo's middleware for it wraps the writer of every answer, reads no q-values,
// and gives two representations one strong tag, against RFC 9110 section 8.8.3.3.
// Here the whole body is at hand, and its tag.
func send(c echo.Context, status int, contentType []string, body []byte) error {
	h := c.Response().Header()
	h[echo.HeaderContentType] = contentType
	if len(body) >= worthwhile && status < http.StatusMultipleChoices && httpd.TakesGzip(c.Request().Header) {
		return sendCompressed(c, status, body)
	}
	return write(c, status, body)
}

func sendCompressed(c echo.Context, status int, body []byte) error {
	packed := buffer()
	defer recycle(packed)
	out := sink{b: (*packed)[:0]}
	w, ok := deflaters.Get().(*gzip.Writer)
	if !ok {
		panic("the pool holds nothing else")
	}
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(body) // a sink takes everything
	_ = w.Close()
	*packed = out.b
	h := c.Response().Header()
	h[echo.HeaderContentEncoding] = codingGzip
	// The tag of a write is that of a state, the tag of a read that of the bytes.
	if tag := h[headerETag]; isRead(c.Request().Method) && len(tag) == 1 {
		h[headerETag] = []string{quoted(strings.Trim(tag[0], `"`) + precondition.GzipSuffix)}
	}
	return write(c, status, out.b)
}

func write(c echo.Context, status int, body []byte) error {
	res := c.Response()
	res.Header()[echo.HeaderContentLength] = []string{strconv.Itoa(len(body))}
	res.WriteHeader(status)
	if _, err := res.Write(body); err != nil {
		return fmt.Errorf("%w: %w", errUnread, err)
	}
	return nil
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// variant is the tag of what a caller has whose copy is still good: the one of
// its compressed copy, if it holds that and could be sent that.
func variant(c echo.Context, conditions precondition.Conditions, tag string) string {
	packed := tag + precondition.GzipSuffix
	if conditions.Excludes(packed) && httpd.TakesGzip(c.Request().Header) {
		return packed
	}
	return tag
}
