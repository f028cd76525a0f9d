package middleware

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/prefsd/prefsd/pkg/precondition"
)

// preflightAge is how long browsers may remember what they were told; none keeps
// it for longer.
const preflightAge = 2 * time.Hour

// AnyOrigin allows pages of every site. It gives nothing away: an answer depends
// on the token in a header, which a page has to know, and never on a cookie.
const AnyOrigin = "*"

// CORS lets pages of these origins call. It comes after routing, so that a
// preflight is told the methods of its address, and before everything that may
// refuse, so that pages can read refusals.
func CORS(origins []string) echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		// Echo takes every OPTIONS for a preflight; one that is none asks for Allow.
		Skipper: func(c echo.Context) bool {
			h := c.Request().Header
			return c.Request().Method == http.MethodOptions && len(h[echo.HeaderAccessControlRequestMethod]) == 0
		},
		AllowOrigins: origins,
		AllowHeaders: []string{
			echo.HeaderAuthorization, echo.HeaderContentType, precondition.IfMatch, precondition.IfNoneMatch,
			"Idempotency-Key", "Prefer", "Prefs-Min-Version", HeaderRequestID, headerTraceparent,
		},
		ExposeHeaders: []string{
			"ETag", echo.HeaderLocation, echo.HeaderRetryAfter, "RateLimit", "RateLimit-Policy", "Preference-Applied", HeaderRequestID,
		},
		MaxAge: int(preflightAge.Seconds()),
	})
}
