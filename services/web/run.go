// Package web serves the pages for people: the list that a user arranges, and the
// page of operators. They are built from TypeScript in app by make web; what is
// built is committed in dist and part of the program.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prefsd/prefsd/pkg/httpd"
)

// Config says what the pages talk to, and to whom.
type Config struct {
	Addr        string
	APIURL      string // where the API is, seen from a browser
	AccountsURL string // where the owner of accounts is, likewise
	// People may sign in by their names alone. There are none but where everything
	// is a demo: whoever opens the page gets their tokens.
	People []Person

	// Listener is used instead of Addr by those who have one already.
	Listener net.Listener
}

// Person is somebody who may sign in without being asked for a token.
type Person struct {
	Name     string `json:"name"`
	Operator bool   `json:"operator"`
	Token    string `json:"token"`
}

const (
	headerTimeout = 5 * time.Second
	drain         = 2 * time.Second
)

// Run serves the pages until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	listener, err := httpd.Listen(ctx, cfg.Listener, "--web-addr", cfg.Addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: Handler(cfg), ReadHeaderTimeout: headerTimeout}
	log.InfoContext(ctx, "serving the pages", slog.String("addr", listener.Addr().String()))
	return httpd.Serve(ctx, server, listener, httpd.Stop{Drain: drain})
}
