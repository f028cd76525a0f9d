package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/services/api/middleware"
)

// NewHTTPServer is what Run serves with.
var NewHTTPServer = newHTTPServer

// Spellings that are made by hand.
var (
	AppendCompact = appendCompact
	AppendString  = appendString
)

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
