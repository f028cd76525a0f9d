package postgres

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// Outlet is the part that a process has in the publishing of events: it tells
// whoever publishes that there are new ones, and may be the one itself.
type Outlet struct {
	notifier *Notifier
	source   *OutboxSource
	relay    *outbox.Relay // nil: others publish
}

// NewOutlet returns an outlet that takes part in the named relay; without a
// publisher it leaves that to others. It does nothing until it runs.
func NewOutlet(url, relay string, publisher outbox.Publisher, cfg outbox.Config, log *slog.Logger) (*Outlet, error) {
	notifier, err := NewNotifier(url, log)
	if err != nil {
		return nil, err
	}
	if publisher == nil {
		return &Outlet{notifier: notifier}, nil
	}
	source, err := NewOutboxSource(url, relay)
	if err != nil {
		return nil, err
	}
	r, err := outbox.New(source, publisher, cfg, log)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return &Outlet{notifier: notifier, source: source, relay: r}, nil
}

// Poke says that there are new events: to the relay of this process without a
// detour, to another one by the database. It never waits.
func (o *Outlet) Poke() {
	if o.relay != nil && o.relay.Status().Leader {
		o.relay.Poke()
		return
	}
	o.notifier.Poke()
}

// Run publishes until ctx ends, then gives the lease back and closes its
// connections.
func (o *Outlet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.notifier.Run(ctx) })
	if o.relay != nil {
		defer o.source.Close() //nolint:contextcheck // ctx is over by then
		g.Go(func() error { return o.relay.Run(ctx) })
	}
	return g.Wait()
}
