// Package httpd answers HTTP requests for as long as a process works, and
// brings them to an end when it stops.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Listen returns the listener that is given, or else listens on the address. An
// error names the flag that the address came from.
func Listen(ctx context.Context, given net.Listener, flag, addr string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var sockets net.ListenConfig
	l, err := sockets.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

// Stop says how a server ends.
type Stop struct {
	Delay time.Duration // how long it serves on when it is told to stop
	Drain time.Duration // how long requests in hand may take to finish after that
}

// Serve answers requests until ctx ends, and then those that are in hand. What
// takes longer than it may is cut off.
func Serve(ctx context.Context, web *http.Server, l net.Listener, stop Stop) error {
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	delay := time.NewTimer(stop.Delay)
	defer delay.Stop()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-delay.C:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stop.Drain)
	defer cancel()
	err := web.Shutdown(limit)
	if err != nil {
		err = fmt.Errorf("requests did not end within %s and were cut off: %w", stop.Drain, err)
	}
	err = errors.Join(err, web.Close())
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
