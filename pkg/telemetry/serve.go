package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prefsd/prefsd/pkg/httpd"
)

// Limits of a connection from those who watch.
const (
	readTimeout  = 5 * time.Second // requests have no bodies
	writeTimeout = time.Minute
	idleTimeout  = 2 * time.Minute
	drain        = time.Second // what scrapers and probes have to finish
)

var (
	errStarting = errors.New("the process is starting")
	errStopping = errors.New("the process is stopping")
)

// ReadyWhen makes these checks, and no earlier ones, decide whether the process
// is ready.
func (t *Telemetry) ReadyWhen(checks ...Check) {
	ready := All(checks...)
	t.ready.Store(&ready)
}

// AliveWhile makes these checks, and no earlier ones, decide whether the process
// works at all. Only what a restart mends belongs here.
func (t *Telemetry) AliveWhile(checks ...Check) {
	alive := All(checks...)
	t.alive.Store(&alive)
}

// WaitFor makes the process unready until ReadyWhen is called.
func (t *Telemetry) WaitFor(what string, why error) {
	t.ReadyWhen(Check{Name: what, Ready: func(context.Context) error { return why }})
}

// Serve answers probes and scrapes until ctx ends; once working has ended, that
// the process is not ready any more.
func (t *Telemetry) Serve(ctx, working context.Context, l net.Listener, log *slog.Logger) error {
	ready := func(ctx context.Context) error {
		if working.Err() != nil {
			return errStopping
		}
		if ready := t.ready.Load(); ready != nil {
			return (*ready)(ctx)
		}
		return errStarting
	}
	alive := func(ctx context.Context) error {
		if alive := t.alive.Load(); alive != nil {
			return (*alive)(ctx)
		}
		return nil
	}
	web := &http.Server{
		Handler:     AdminHandler(alive, ready, t.Handler()),
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.InfoContext(ctx, "serving health and metrics", slog.String("addr", l.Addr().String()))
	return httpd.Serve(ctx, web, l, httpd.Stop{Drain: drain})
}
