package kafka

import (
	"context"
	"net"
	"sync"
	"time"
)

// network dials and remembers its connections, so that closing it ends every
// request at once. The library alone leaves a connection open until the
// request on it is answered.
type network struct {
	dialer net.Dialer
	ctx    context.Context // ends with the network
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[*trackedConn]struct{} // nil once closed
}

type trackedConn struct {
	net.Conn
	net *network
}

func newNetwork(dialTimeout time.Duration) *network {
	n := &network{conns: map[*trackedConn]struct{}{}}
	// The library tries the brokers one by one within its own time limit:
	// one that swallows packets must not use up the time of the next.
	n.dialer.Timeout = dialTimeout / 2
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)() //nolint:contextcheck // either end counts
	conn, err := n.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, net: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	n.conns[tracked] = struct{}{}
	return tracked, nil
}

func (n *network) close() {
	n.cancel()
	n.mu.Lock()
	conns := n.conns
	n.conns = nil
	n.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}
