package pgtest

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Committing stands in the message that carries a commit of pkg/postgres: a
// statement whose text is its name goes by a digest.
const Committing = "\x00stmt_"

// Wire stands between a client and its server. It cuts connections or lets them
// fall silent, where it is told to.
type Wire struct {
	listener net.Listener
	server   string
	conns    sync.WaitGroup

	mu     sync.Mutex
	cut    *Cut
	hold   *Hold
	pause  func() (share float64, d time.Duration)
	answer int // bytes of the last answer that was watched
	held   int
}

// Cut ends the connection over which a message goes that holds the mark.
type Cut struct {
	Mark   string
	Skip   int  // so many messages with the mark pass
	Before bool // the message itself is lost; else so many bytes of the answer arrive
	Bytes  int
}

// Everything lets the whole answer pass a Cut, to be measured.
const Everything = 1 << 30

// Hold keeps each connection over which a message has gone that holds the mark
// at its next commit: silent, and open.
type Hold struct {
	Mark   string
	Before bool // the commit never leaves; else it is made, and the answer never arrives
}

// NewWire returns a wire to the server of a database, and the database's URL by
// that wire. Nothing is encrypted on it, because what is cannot be read.
func NewWire(tb testing.TB, database string) (w *Wire, through string) {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	w = &Wire{listener: l, server: u.Host}
	u.Host = l.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	tb.Cleanup(w.conns.Wait)
	tb.Cleanup(func() { _ = w.Close() })
	w.conns.Go(w.accept)
	return w, u.String()
}

// Close accepts no connection from now on.
func (w *Wire) Close() error { return w.listener.Close() }

// Cut arms the wire; the next message with the mark is cut.
func (w *Wire) Cut(c Cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.answer = &c, 0
}

// Fired says that the cut has been made.
func (w *Wire) Fired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut == nil
}

// Answered is how many bytes the server answered to the message that was cut.
func (w *Wire) Answered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answer
}

// Hold arms the wire until Release.
func (w *Wire) Hold(h Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold, w.held = &h, 0
}

// Held is how many connections are silent; unless their commits never left, the
// server has made them.
func (w *Wire) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// Release holds nothing more. What is silent stays so.
func (w *Wire) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = nil
}

// Stutter lets messages stop somewhere on their way to the server: it asks before
// each how much of it arrives at once, and when the rest does. What is one batch
// for its sender then takes its time, and others come in between.
func (w *Wire) Stutter(pause func() (share float64, d time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = pause
}

// deliver writes a message to the server.
func (w *Wire) deliver(server net.Conn, message []byte) error {
	w.mu.Lock()
	pause := w.pause
	w.mu.Unlock()
	if pause == nil {
		_, err := server.Write(message)
		return err
	}
	share, d := pause()
	at := int(share * float64(len(message)))
	if _, err := server.Write(message[:at]); err != nil {
		return err
	}
	if d > 0 {
		<-time.After(d)
	}
	_, err := server.Write(message[at:])
	return err
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p := &pipe{wire: w, client: client, server: server}
		w.conns.Go(p.requests)
		w.conns.Go(p.answers)
	}
}

// hit takes the cut if the message is the one.
func (w *Wire) hit(message []byte) *Cut {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.cut
	if c == nil || !bytes.Contains(message, []byte(c.Mark)) {
		return nil
	}
	if c.Skip--; c.Skip >= 0 {
		return nil
	}
	w.cut = nil
	return c
}

// meets returns the hold if the message has its mark.
func (w *Wire) meets(message []byte) *Hold {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hold == nil || !bytes.Contains(message, []byte(w.hold.Mark)) {
		return nil
	}
	return w.hold
}

func (w *Wire) count(answered, silent int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer += answered
	w.held += silent
}

type pipe struct {
	wire           *Wire
	client, server net.Conn
	hold           *Hold // it has met the mark

	mu     sync.Mutex
	cut    *Cut // the answer that is under way is to be cut
	silent bool // no answer passes
}

func (p *pipe) end() {
	if tcp, ok := p.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, as of a machine that is gone
	}
	_ = p.client.Close()
	_ = p.server.Close()
}

func (p *pipe) requests() {
	defer p.end()
	buffer := make([]byte, 1<<20)
	for {
		n, err := p.client.Read(buffer)
		if err != nil {
			return
		}
		if c := p.wire.hit(buffer[:n]); c != nil {
			if c.Before {
				return
			}
			p.mu.Lock()
			p.cut = c
			p.mu.Unlock()
		}
		if err := p.wire.deliver(p.server, p.passing(buffer[:n])); err != nil {
			return
		}
	}
}

// passing is what of a message reaches the server: all of it, unless it ends in
// a commit that must not.
func (p *pipe) passing(message []byte) []byte {
	if p.hold == nil {
		p.hold = p.wire.meets(message)
	}
	at := bytes.LastIndex(message, []byte(Committing))
	if p.hold == nil || at < 0 {
		return message
	}
	p.mu.Lock()
	p.silent = true
	p.mu.Unlock()
	if !p.hold.Before {
		return message
	}
	p.wire.count(0, 1)
	return message[:at]
}

func (p *pipe) answers() {
	defer p.end()
	buffer := make([]byte, 1<<20)
	for {
		n, err := p.server.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		c, silent := p.cut, p.silent
		p.mu.Unlock()
		if silent {
			p.wire.count(0, bytes.Count(buffer[:n], []byte("COMMIT\x00")))
			continue
		}
		passes := n
		if c != nil {
			p.wire.count(n, 0)
			passes = min(n, c.Bytes)
			c.Bytes -= passes
		}
		_, err = p.client.Write(buffer[:passes])
		if err != nil || passes < n || c != nil && c.Bytes == 0 {
			return
		}
	}
}
