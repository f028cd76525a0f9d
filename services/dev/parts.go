package dev

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// stopLimit bounds how long the parts may take to finish what is in hand, so
// that the whole environment is gone within five seconds of Ctrl-C.
const stopLimit = 3500 * time.Millisecond

// parts are the services of the product, running in this process.
type parts struct {
	stop   context.CancelFunc
	failed chan struct{} // closed when a part ended without being told to

	running sync.WaitGroup
	mu      sync.Mutex
	active  map[string]bool
	first   error
}

func newParts(stop context.CancelFunc) *parts {
	return &parts{stop: stop, failed: make(chan struct{}), active: map[string]bool{}}
}

// run starts a part. It is to run until the context that stop ends does.
func (p *parts) run(ctx context.Context, name string, fn func(context.Context) error) {
	p.mu.Lock()
	p.active[name] = true
	p.mu.Unlock()
	p.running.Go(func() {
		err := fn(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.active, name)
		if err == nil && ctx.Err() == nil {
			err = errors.New("has ended by itself")
		}
		if err != nil && p.first == nil {
			p.first = fmt.Errorf("%s: %w", name, err)
			close(p.failed)
		}
	})
}

// err returns why the first part that failed did so.
func (p *parts) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// end stops all parts at once and waits for them, but not for ever.
func (p *parts) end() error {
	p.stop()
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-ended:
		return nil
	case <-limit.C:
		return fmt.Errorf("%v did not end within %s and were left behind", p.left(), stopLimit)
	}
}

func (p *parts) left() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.active))
}
