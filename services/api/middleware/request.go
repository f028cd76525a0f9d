// Package middleware does for every request what no handler should have to
// think of: it names the request, bounds it, asks who sends it, reads it, and
// tells afterwards what became of it. It answers nothing itself; what is wrong
// goes out as an error.
package middleware

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

// Request is what is known about a request besides what net/http says.
type Request struct {
	ID             string         // of the caller if it sent one, else ours
	Traceparent    string         // W3C trace context; empty if there is none that can be read
	Caller         auth.Principal // the zero value on routes that anyone may call
	Query          url.Values     // each name once, none that the route does not know
	Body           []byte
	IdempotencyKey string       // empty: the request need not happen once
	Reason         fault.Reason // why the request failed; empty if it did not
	Skipped        int          // deleted entities that a save left out
}

// key is where echo keeps the Request.
const key = "prefs.request"

// Of returns what is known about the request. It is never nil.
func Of(c echo.Context) *Request {
	if r, ok := c.Get(key).(*Request); ok {
		return r
	}
	r := &Request{}
	c.Set(key, r)
	return r
}

// HeaderRequestID names a request in both directions.
const HeaderRequestID = "X-Request-Id"

const (
	maxRequestID = 128
	// idBytes are those that need no escape in a log, a URL or a column.
	idBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
)

// requestID takes the caller's name for the request if it is one, else it makes
// one up.
func requestID(h http.Header) string {
	given := h[HeaderRequestID]
	if len(given) == 1 && given[0] != "" && len(given[0]) <= maxRequestID && strings.Trim(given[0], idBytes) == "" {
		return given[0]
	}
	return rand.Text()
}
