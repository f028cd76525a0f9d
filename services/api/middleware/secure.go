package middleware

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// Headers that every answer has, whoever writes it. The API answers data: nothing
// of it is to be run, framed, guessed at or kept, and a page that it was called
// from is nobody's business. Reads replace noStore, and pages for people the
// policy.
var (
	nosniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
	sameOrigin = []string{"same-origin"}
)

// headerResourcePolicy keeps other sites from embedding answers; those that CORS
// lets in are not affected.
const headerResourcePolicy = "Cross-Origin-Resource-Policy"

// Secure sets those headers. hsts is how long browsers are told to use nothing
// but TLS from now on; 0 leaves it out.
//
// Echo's own does it the other way round: it sends headers that browsers have
// given up (X-XSS-Protection), has no word for some of these, and believes any
// caller's X-Forwarded-Proto about whether there is TLS.
func Secure(hsts time.Duration) echo.MiddlewareFunc {
	var strict []string
	if hsts > 0 {
		strict = []string{"max-age=" + strconv.Itoa(int(hsts.Seconds()))}
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h[echo.HeaderXContentTypeOptions] = nosniff
			h[echo.HeaderCacheControl] = noStore
			h[echo.HeaderContentSecurityPolicy] = noContent
			h[echo.HeaderReferrerPolicy] = noReferrer
			h[headerResourcePolicy] = sameOrigin
			if strict != nil {
				h[echo.HeaderStrictTransportSecurity] = strict
			}
			return next(c)
		}
	}
}

// Asterisk answers OPTIONS *, which asks about the server and not about an
// address. net/http would answer it without any of our headers.
func Asterisk(allow string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if r.Method != http.MethodOptions || r.RequestURI != "*" {
				return next(c)
			}
			c.Response().Header().Set(echo.HeaderAllow, allow)
			return c.NoContent(http.StatusNoContent)
		}
	}
}
