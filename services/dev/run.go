package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prefsd/prefsd/services/ctl"
)

// Run starts everything, says on out how to use it, and runs until ctx ends or
// one of the parts does. It takes down all that it started, the last first.
func Run(ctx context.Context, cfg Config, out io.Writer, log *slog.Logger) (err error) {
	began := time.Now()
	e := &environment{cfg: cfg, out: out, log: log}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop while it was starting: no failure
		}
		return err
	}
	if err := e.announce(time.Since(began)); err != nil {
		return err
	}
	e.openPages(ctx)
	return e.wait(ctx)
}

// start goes through the parts in the order in which they need each other.
func (e *environment) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		e.openDir, e.openPorts, e.startStores, e.startParts, e.awaitParts, e.seedUsers,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// announce tells programs by a file and people by a tour.
func (e *environment) announce(took time.Duration) error {
	env, err := e.describe()
	if err != nil {
		return err
	}
	if err := env.Write(e.cfg.Dir); err != nil {
		return err
	}
	e.onClose(func() error { return ctl.RemoveEnvironment(e.cfg.Dir) })
	return tour{env: env, dir: e.cfg.Dir, cleaned: e.topics.PreferencesCleaned, took: took, ownBroker: e.broker != nil}.print(e.out)
}

// wait blocks until ctx ends; a part that ends before is a failure.
func (e *environment) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		e.progress("stopping")
		return nil
	case <-e.parts.failed:
		return e.parts.err()
	case <-e.databaseEnded:
		return errors.New("PostgreSQL has ended by itself")
	}
}

// progress tells a person what is going on.
func (e *environment) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(e.out, format+"\n", args...) // nobody is served worse by a missing line
}
