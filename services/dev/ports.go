package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// place is an address that a part listens on and the flag that moves it.
type place struct {
	what string
	flag string
	addr string
}

// listen takes the address, or says which flag to use when another program has
// it.
func (p place) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", p.addr)
	if err != nil {
		return nil, p.explain(err)
	}
	return l, nil
}

func (p place) explain(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the address of %s, %s, is taken: choose another with %s (port 0 is any free one)", p.what, p.addr, p.flag)
	}
	return fmt.Errorf("listen for %s (%s): %w", p.what, p.flag, err)
}
