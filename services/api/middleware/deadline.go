package middleware

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Within bounds the work on a request. It comes after the body was read: how
// long that may take is the server's business.
func Within(limit time.Duration, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), limit)
		defer cancel()
		c.SetRequest(c.Request().WithContext(ctx))
		return next(c)
	}
}

// grace is what is left to write an answer once the work has run out of time.
const grace = 10 * time.Second

// Lasting is Within for work that outlasts the server's own timeouts, which
// would cut the connection under it.
func Lasting(limit time.Duration, next echo.HandlerFunc) echo.HandlerFunc {
	bounded := Within(limit, next)
	return func(c echo.Context) error {
		conn := http.NewResponseController(c.Response())
		if err := conn.SetReadDeadline(time.Time{}); err != nil {
			return fmt.Errorf("lift the read deadline: %w", err)
		}
		if err := conn.SetWriteDeadline(time.Now().Add(limit + grace)); err != nil {
			return fmt.Errorf("lift the write deadline: %w", err)
		}
		return bounded(c)
	}
}
