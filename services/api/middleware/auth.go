package middleware

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

// ReasonInsufficientScope says that a valid token does not allow a call.
const ReasonInsufficientScope fault.Reason = "INSUFFICIENT_SCOPE"

// Verifier vouches for the bearer of a token.
type Verifier interface {
	// Verify returns who the token speaks for, or a fault that is safe to show.
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Authenticate lets only callers pass for whom the verifier vouches.
func Authenticate(v Verifier, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		token, err := bearer(c.Request().Header)
		if err != nil {
			return err
		}
		caller, err := v.Verify(c.Request().Context(), token)
		if err != nil {
			return err
		}
		Of(c).Caller = caller
		return next(c)
	}
}

// Granted lets only callers pass who were granted the scope.
func Granted(scope string, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !Of(c).Caller.Has(scope) {
			return denied(c, scope, "The token does not have the scope "+scope+".")
		}
		return next(c)
	}
}

const scheme = "Bearer"

// bearer returns the one token of a request. Two could be understood
// differently by whoever stands before this server and by this server.
func bearer(h http.Header) (string, error) {
	const invalid = auth.ReasonInvalidToken
	values := h[echo.HeaderAuthorization]
	switch len(values) {
	case 0:
		return "", fault.New(fault.Unauthenticated, invalid, "Send a token: Authorization: Bearer <token>.")
	case 1:
	default:
		return "", fault.New(fault.Unauthenticated, invalid, "Send exactly one Authorization header.")
	}
	given, token, found := strings.Cut(values[0], " ")
	if token = strings.Trim(token, " "); !found || token == "" || !strings.EqualFold(given, scheme) {
		return "", fault.New(fault.Unauthenticated, invalid, "The Authorization header must be: Bearer <token>.")
	}
	return token, nil
}

// denied refuses a known caller and says which scope would do (RFC 6750 section
// 3.1).
func denied(c echo.Context, scope, message string) error {
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="prefsd", error="insufficient_scope", scope="`+scope+`"`)
	return fault.New(fault.Denied, ReasonInsufficientScope, "%s", message)
}
