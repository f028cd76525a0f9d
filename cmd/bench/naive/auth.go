package main

import (
	"crypto"
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"
)

// authenticate verifies the token of every request and keeps its subject.
func authenticate(key crypto.PublicKey, issuer, audience string) echo.MiddlewareFunc {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			text, found := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
			if !found {
				return echo.NewHTTPError(http.StatusUnauthorized, "a bearer token is required")
			}
			var claims jwt.RegisteredClaims
			if _, err := parser.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
				return echo.NewHTTPError(http.StatusUnauthorized, "the token is not valid").SetInternal(err)
			}
			c.Set("user", claims.Subject)
			return next(c)
		}
	}
}

func userOf(c echo.Context) string {
	user, _ := c.Get("user").(string)
	return user
}
