package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/services/api/middleware"
)

// NewHTTPServer is what Run serves with.
var NewHTTPServer = newHTTPServer

// Spellings that are made by hand.
var (
	AppendCompact = appendCompact
	AppendString  = appendString
)

// What is read from headers and parameters that others spell.
var (
	WantsProblem = wantsProblem
	KnownFields  = knownFields
)

// ReadFields says whether a mask can be read.
func ReadFields(mask string) (same func(other string) bool, ok bool) {
	f, wrong := readFields(mask)
	return func(other string) bool {
		g, wrong := readFields(other)
		return wrong == "" && f == g
	}, wrong == ""
}

// Failing answers a request of whose handler this error came.
func Failing(ctx context.Context, err error, log *slog.Logger) *httptest.ResponseRecorder {
	e := echo.New()
	e.HTTPErrorHandler = handleError(log)
	e.Pre(middleware.Observe(slog.New(slog.DiscardHandler), func(middleware.Sample) {}))
	e.GET("/", func(echo.Context) error { return err })
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	return rec
}

// Around serves these two handlers with all that is put round handlers: at /read
// one that answers GET, at /write one that answers POST with a JSON body.
func Around(o Options, read, write echo.HandlerFunc) http.Handler {
	s := newServer(o)
	return s.handler(o, []Route{
		{Method: http.MethodGet, Path: "/read", Audience: Users, handle: read},
		{Method: http.MethodPost, Path: "/write", Audience: Users, Takes: []string{middleware.TypeJSON}, handle: write},
	})
}

// Text is a body that is text already.
type Text string

func (t Text) appendJSON(b []byte) []byte { return append(b, t...) }

// AnswerRead is how reads answer.
var AnswerRead = answerRead

// NewRecord counts requests as Run does.
func NewRecord(meter metric.Meter) (func(middleware.Sample), error) {
	m, err := newMetrics(meter)
	if err != nil {
		return nil, err
	}
	return m.record, nil
}

// BodyBytes is what the bodies of requests in hand take.
func (l *Limiter) BodyBytes() int64 {
	bytes, _ := l.bodies.InUse()
	return bytes
}

// Working is how many users' requests work, and how many wait.
func (l *Limiter) Working() (working, waiting int) {
	working, _, waiting = l.lanes.users.Usage()
	return working, waiting
}
