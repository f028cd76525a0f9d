package dev

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/prefsd/prefsd/pkg/devkafka"
)

// broker is our own broker. A person may stop it and start it again, to see what
// the product does without one: its address, topics and records stay.
type broker struct {
	log *slog.Logger

	mu      sync.Mutex
	cfg     devkafka.Config
	current *devkafka.Broker // nil while it is stopped
}

// start does nothing to a broker that runs.
func (b *broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		return nil
	}
	started, err := devkafka.Start(b.cfg, b.log)
	if err != nil {
		return place{"the broker", "--kafka-addr", b.cfg.Addr}.explain(err)
	}
	b.current, b.cfg.Addr = started, started.Addrs()[0] // any free port it is the first time only
	return nil
}

// stop does nothing to a broker that is stopped.
func (b *broker) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return nil
	}
	stopping := b.current
	b.current = nil
	return stopping.Close()
}

// errForeign says that there is no broker of ours.
var errForeign = errors.New("the brokers are somebody else's (--kafka-brokers): stop them where they run")

// set makes the broker run, or not.
func (b *broker) set(running bool) error {
	switch {
	case b == nil:
		return errForeign
	case running:
		return b.start()
	default:
		return b.stop()
	}
}
