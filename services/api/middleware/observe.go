package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/telemetry"
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
			req := c.Request()
			r := &Request{ID: requestID(req.Header), Traceparent: cmp.Or(telemetry.Traceparent(req.Context()), traceparent(req.Header))}
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
			mark(req, r, s)
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
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("method", s.Method), slog.String("route", s.Route), slog.Int("status", s.Status),
		slog.Int64("bytes", c.Response().Size), slog.Duration("took", s.Took), slog.String("request_id", r.ID))
	if r.Reason != "" {
		attrs = append(attrs, slog.String("code", string(r.Reason)))
	}
	if r.Traceparent != "" {
		attrs = append(attrs, slog.String("trace_id", r.Traceparent[traceAt:traceEnd]))
	}
	if mutant.Is("token-in-log") {
		attrs = append(attrs, slog.String("authorization", c.Request().Header.Get("Authorization")))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}

// mark tells the request's span, if there is one, what the request was: its name
// is that of the route.
func mark(req *http.Request, r *Request, s Sample) {
	req.Pattern = s.Route
	span := trace.SpanFromContext(req.Context())
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(semconv.HTTPRoute(s.Route), attribute.String("prefs.request_id", r.ID))
	if r.Reason != "" {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(r.Reason)))
	}
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
