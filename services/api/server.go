// Package api is the HTTP edge: it turns requests into calls of
// preferences.Service and results into answers, nothing more. openapi.yaml
// describes what it speaks.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/status"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// Options are what the API is made of.
type Options struct {
	Preferences *preferences.Service // nil: there is no database yet, and the answer is 503
	Verifier    middleware.Verifier
	Log         *slog.Logger
	Record      func(middleware.Sample) // called for each answered request; may be nil
	Timeout     time.Duration           // of the work on one request
	Limiter     *Limiter                // what holds callers back; nil: nothing does
	Browsers    Browsers
	About       About
	Traces      trace.TracerProvider // where a span of each request goes; nil: nowhere

	// Status says how the deployment stands. Needed where Preferences are.
	Status func(context.Context) (status.Status, error)
}

// server holds what the handlers need.
type server struct {
	prefs    *preferences.Service
	verifier middleware.Verifier
	timeout  time.Duration
	limiter  *Limiter
	info     *document
	stand    func(context.Context) (status.Status, error)
}

// New returns the API as a handler.
func New(o Options) http.Handler {
	s := newServer(o)
	h := s.handler(o, s.routes())
	if o.Traces == nil {
		return h
	}
	return otelhttp.NewHandler(h, "request", otelhttp.WithTracerProvider(o.Traces), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()), otelhttp.WithSpanNameFormatter(spanName))
}

// spanName is the method and, once it is known, the route: a path has ids.
func spanName(_ string, r *http.Request) string {
	if r.Pattern == "" {
		return r.Method
	}
	return r.Method + " " + r.Pattern
}

func newServer(o Options) *server {
	if o.Limiter == nil {
		o.Limiter = NewLimiter(Limits{})
	}
	return &server{
		prefs: o.Preferences, verifier: o.Verifier, timeout: o.Timeout, limiter: o.Limiter, info: newInfo(o.About, o.Limiter.limits), stand: o.Status,
	}
}

// handler serves routes.
func (s *server) handler(o Options, routes []Route) http.Handler {
	if o.Record == nil {
		o.Record = func(middleware.Sample) {}
	}
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	// The address of a request counts for nothing, so no header may forge it.
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = handleError(o.Log)
	e.Pre(middleware.Observe(o.Log, o.Record), middleware.Secure(o.Browsers.HSTS), middleware.Asterisk(methodsOf(routes)), middleware.Colons)
	if len(o.Browsers.Origins) > 0 {
		e.Use(middleware.CORS(o.Browsers.Origins))
	}
	e.Use(middleware.Head)
	for _, r := range routes {
		e.Add(r.Method, r.Path, s.endpoint(r))
	}
	return e
}

// endpoint puts round a handler what its route asks for, in the order in which
// requests are judged: size, caller, rate, scope, form, then the content. A place
// among those at work is taken last, when nothing of the request is missing.
func (s *server) endpoint(r Route) echo.HandlerFunc {
	h := r.handle
	if r.Within > s.timeout {
		h = middleware.Lasting(r.Within, h)
	} else {
		h = middleware.Within(s.timeout, h)
	}
	h = s.limiter.admit(r, h)
	h = middleware.Query(r.Query, h)
	h = middleware.Writes(h)
	h = middleware.Body(r.Takes, s.limiter.bodies, h)
	switch r.Audience {
	case Anyone:
	case Users:
		h = s.authenticated(h)
	case System:
		h = s.authenticated(middleware.Granted(auth.ScopeSystem, h))
	case Admins:
		h = s.authenticated(middleware.Granted(auth.ScopeAdmin, h))
	default:
		panic("api: " + r.Method + " " + r.Path + " has no audience")
	}
	if s.prefs == nil && r.Audience != Anyone {
		h = starting
	}
	return middleware.Size(h)
}

func (s *server) authenticated(next echo.HandlerFunc) echo.HandlerFunc {
	return middleware.Authenticate(s.verifier, middleware.Limited(s.limiter.users, s.limiter.system, next))
}

// starting answers while the service cannot do its work yet.
func starting(echo.Context) error {
	return fault.New(fault.Unavailable, fault.ReasonUnavailable, "The service is starting. Try again soon.")
}
