package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Sample is what became of one request, for metrics.
type Sample struct {
	Method, Route string // as in the route table; Route is empty where none matched
	Status        int
	Took          time.Duration
	Reason        fault.Reason // why it failed; empty if it did not
	Skipped       int          // deleted entities that a save left out
}

// Observe gives a request its name, turns a panic into an error, has errors
// answered, and tells the log and the metrics how it went. It is outermost, and
// nothing it logs comes from a body, a query or a token.
func Observe(log *slog.Logger, record func(Sample)) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			begun := time.Now()
			r := &Request{ID: requestID(c.Request().Header), Traceparent: traceparent(c.Request().Header)}
			c.Set(key, r)
			c.Response().Header()[HeaderRequestID] = []string{r.ID}
			if err := survive(next, c); err != nil {
				c.Error(err)
			}
			s := Sample{
				Method: c.Request().Method, Route: Route(c), Status: c.Response().Status, Took: time.Since(begun),
				Reason: r.Reason, Skipped: r.Skipped,
			}
			record(s)
			note(log, c, r, s)
			return nil
		}
	}
}

// note writes the access log.
func note(log *slog.Logger, c echo.Context, r *Request, s Sample) {
	ctx := c.Request().Context()
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := make([]slog.Attr, 0, 7)
	attrs = append(attrs,
		slog.String("method", s.Method), slog.String("route", s.Route), slog.Int("status", s.Status),
		slog.Int64("bytes", c.Response().Size), slog.Duration("took", s.Took), slog.String("request_id", r.ID))
	if r.Reason != "" {
		attrs = append(attrs, slog.String("code", string(r.Reason)))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}

// Route returns the route of a request in the spelling of openapi.yaml's
// readers, without echo's escapes.
func Route(c echo.Context) string { return strings.ReplaceAll(c.Path(), `\:`, ":") }

// survive turns a panic into an error, with its stack for the log.
func survive(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if abort, ok := p.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
			panic(p) // net/http's own way to drop a connection
		}
		err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}()
	return next(c)
}
