package kafkatest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Wired is one node of Apache Kafka that clients reach by a wire.
type Wired struct {
	*Apache
	*Wire
}

// StartWired starts a node like Real, and a wire to it. Both end with the test.
func StartWired(tb testing.TB) *Wired {
	tb.Helper()
	w := &Wire{}
	tb.Cleanup(w.conns.Wait)
	return &Wired{startApacheWith(tb, ApacheOptions{Listener: func(addr string) (string, error) { return w.listen(tb, addr) }}), w}
}

// Wire stands between clients and a node. Everything passes; where it is told
// to, it lies about what the node did.
type Wire struct {
	node  string
	conns sync.WaitGroup

	mu    sync.Mutex
	lies  []*kerr.Error // about the next requests to produce
	total int
}

// Lie has the next requests to produce applied, each of which is answered with
// an error then. Where that is nil, no answer comes: the connection ends.
func (w *Wire) Lie(lies ...*kerr.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lies = append(w.lies, lies...)
}

// Lies is how often it has lied.
func (w *Wire) Lies() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

func (w *Wire) next() (lie *kerr.Error, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lies) == 0 {
		return nil, false
	}
	lie, w.lies = w.lies[0], w.lies[1:]
	w.total++
	return lie, true
}

func (w *Wire) listen(tb testing.TB, node string) (string, error) {
	tb.Helper()
	w.node = node
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	tb.Cleanup(func() { require.NoError(tb, l.Close()) })
	w.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			node, err := net.Dial("tcp", w.node)
			if err != nil {
				_ = client.Close() // the node is away
				continue
			}
			c := &wireConn{wire: w, client: client, node: node, produces: map[int32]int16{}}
			w.conns.Go(c.requests)
			w.conns.Go(c.answers)
		}
	})
	return l.Addr().String(), nil
}

// wireConn is one connection over a wire.
type wireConn struct {
	wire         *Wire
	client, node net.Conn

	mu       sync.Mutex
	produces map[int32]int16 // requests to produce that are not answered, and their versions
}

func (c *wireConn) end() {
	_ = c.client.Close()
	_ = c.node.Close()
}

func (c *wireConn) requests() {
	defer c.end()
	for {
		frame, err := readFrame(c.client)
		if err != nil {
			return
		}
		const header = 12 // size, key, version, correlation
		if len(frame) >= header && kmsg.Key(binary.BigEndian.Uint16(frame[4:])) == kmsg.Produce {
			c.mu.Lock()
			c.produces[int32(binary.BigEndian.Uint32(frame[8:]))] = int16(binary.BigEndian.Uint16(frame[6:]))
			c.mu.Unlock()
		}
		if _, err := c.node.Write(frame); err != nil {
			return
		}
	}
}

func (c *wireConn) answers() {
	defer c.end()
	for {
		frame, err := readFrame(c.node)
		if err != nil {
			return
		}
		if frame, err = c.told(frame); err != nil {
			return
		}
		if _, err := c.client.Write(frame); err != nil {
			return
		}
	}
}

// told is what the client is told instead of an answer.
func (c *wireConn) told(frame []byte) ([]byte, error) {
	const header = 8 // size, correlation
	correlation := int32(binary.BigEndian.Uint32(frame[4:header]))
	c.mu.Lock()
	version, produced := c.produces[correlation]
	delete(c.produces, correlation)
	c.mu.Unlock()
	if !produced {
		return frame, nil
	}
	lie, ok := c.wire.next()
	switch {
	case !ok:
		return frame, nil
	case lie == nil:
		return nil, io.EOF
	}
	answer := kmsg.NewPtrProduceResponse()
	answer.SetVersion(version)
	start := header
	if answer.IsFlexible() {
		start++ // tags of the header, of which there are none
	}
	if err := answer.ReadFrom(frame[start:]); err != nil {
		return nil, err
	}
	for _, t := range answer.Topics {
		for i := range t.Partitions {
			t.Partitions[i].ErrorCode, t.Partitions[i].BaseOffset = lie.Code, -1
		}
	}
	out := answer.AppendTo(frame[:start:start])
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

// readFrame reads a request or an answer, with its size in front.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, len(size)+int(binary.BigEndian.Uint32(size[:])))
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[len(size):])
	return frame, err
}
