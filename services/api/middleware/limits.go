package middleware

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// Limits of a request. net/http cuts off headers that are far larger before any
// of this code runs.
const (
	MaxURL    = 8 << 10  // bytes of the request target
	MaxHeader = 32 << 10 // bytes of all header lines together
	MaxBody   = 1 << 20  // bytes
)

// Head refuses a request target or headers that are too large, before anything is
// done for them.
func Head(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if len(r.RequestURI) > MaxURL {
			return echo.NewHTTPError(http.StatusRequestURITooLong, "The URL is longer than "+strconv.Itoa(MaxURL)+" bytes.")
		}
		size := 0
		for name, values := range r.Header {
			for _, v := range values {
				size += len(name) + len(v) + len(": \r\n")
			}
		}
		if size > MaxHeader {
			return echo.NewHTTPError(http.StatusRequestHeaderFieldsTooLarge, "The headers are larger than "+strconv.Itoa(MaxHeader)+" bytes.")
		}
		return next(c)
	}
}

// Colons lets clients that percent-encode a path segment reach the custom
// verbs: %3A means the same as a colon there, but echo routes on the encoded
// path. It runs before routing.
func Colons(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if u := c.Request().URL; u.RawPath != "" {
			u.RawPath = strings.NewReplacer("%3A", ":", "%3a", ":").Replace(u.RawPath)
		}
		return next(c)
	}
}
