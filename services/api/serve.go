package api

import (
	"log/slog"
	"net/http"
	"time"
)

// Limits of a connection. Whoever is slower than these is cut off, so that slow
// callers cannot use up what others need.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 20 * time.Second  // headers and body
	writeTimeout      = 60 * time.Second  // from the end of the headers to the end of the answer
	idleTimeout       = 120 * time.Second // between requests
	maxHeaderBytes    = 64 << 10          // beyond it net/http itself answers 431
)

// newHTTPServer returns a server with the limits of this product.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
