package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// wire stands between a store and its server and cuts a connection where it is
// told to.
type wire struct {
	net.Listener
	server string

	mu     sync.Mutex
	cut    *cut
	answer int // bytes of the last answer that was watched
	conns  sync.WaitGroup
}

// cut ends the connection over which a message goes that holds the mark.
type cut struct {
	mark   string
	skip   int  // so many messages with the mark pass
	before bool // the message itself is lost; else so many bytes of the answer arrive
	bytes  int
}

// everything lets the whole answer pass, to be measured.
const everything = 1 << 30

func openWired(t *testing.T) (*house, *wire) {
	t.Helper()
	h, w := openWiredUnchecked(t)
	t.Cleanup(func() { require.Empty(t, h.findings(t)) })
	return h, w
}

func openWiredUnchecked(t *testing.T) (*house, *wire) {
	t.Helper()
	at := pgtest.New(t)
	u, err := url.Parse(at)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: l, server: u.Host}
	u.Host = l.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable") // what is encrypted cannot be read
	u.RawQuery = q.Encode()
	t.Cleanup(w.conns.Wait)
	t.Cleanup(func() { _ = l.Close() })
	w.conns.Go(w.accept)
	h := openUnchecked(t, u.String())
	require.NoError(t, h.store.Ping(t.Context())) // the connection is there, and its statements are prepared
	return h, w
}

func (w *wire) accept() {
	for {
		client, err := w.Accept()
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

// at arms the wire; the next message with the mark is cut.
func (w *wire) at(c cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.answer = &c, 0
}

// fired says that the cut has been made.
func (w *wire) fired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut == nil
}

// hit takes the cut if the message is the one.
func (w *wire) hit(message []byte) *cut {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.cut
	if c == nil || !bytes.Contains(message, []byte(c.mark)) {
		return nil
	}
	if c.skip--; c.skip >= 0 {
		return nil
	}
	w.cut = nil
	return c
}

type pipe struct {
	wire           *wire
	client, server net.Conn

	mu  sync.Mutex
	cut *cut // the answer that is under way is to be cut
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
			if c.before {
				return
			}
			p.mu.Lock()
			p.cut = c
			p.mu.Unlock()
		}
		if _, err := p.server.Write(buffer[:n]); err != nil {
			return
		}
	}
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
		c := p.cut
		p.mu.Unlock()
		if c == nil {
			if _, err := p.client.Write(buffer[:n]); err != nil {
				return
			}
			continue
		}
		p.wire.mu.Lock()
		p.wire.answer += n
		p.wire.mu.Unlock()
		passes := min(n, c.bytes)
		c.bytes -= passes
		_, err = p.client.Write(buffer[:passes])
		if err != nil || passes < n || c.bytes == 0 {
			return
		}
	}
}

// committing stands in the message that carries a commit: a statement whose
// text is its name goes by a digest.
const committing = "\x00stmt_"

func TestACommitWhoseAnswerIsLostIsNeverRepeated(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b", "c")
	orders := [][]string{{"b", "a", "c"}, {"a", "b", "c"}}
	w.at(cut{mark: committing, bytes: everything})
	h.save(t, "u", orders[0]...)
	w.mu.Lock()
	whole := w.answer
	w.mu.Unlock()
	require.Positive(t, whole)

	version := 2
	unknown := 0
	for i, arrived := range []int{0, 1, whole / 2, whole - 12, whole - 7, whole - 6, whole - 1, whole} {
		w.at(cut{mark: committing, bytes: arrived})
		_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs(orders[(i+1)%2]...))
		require.True(t, w.fired())
		if err != nil {
			unknown++
			require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err), "%d of %d bytes", arrived, whole)
			require.Equal(t, fault.Unavailable, fault.CodeOf(err))
		}
		version++
		require.Equal(t, version, h.version(t), "%d of %d bytes: once, and never twice", arrived, whole)
	}
	require.Equal(t, 5, unknown, "a commit whose answer has been read is done, whatever follows")
}

// version is what a reader gets who has lost no connection.
func (h *house) version(t *testing.T) int {
	t.Helper()
	return h.count(t, "select version from preference_lists where user_id = 'u'")
}

func TestACommitThatNeverLeftIsAsUnknown(t *testing.T) {
	t.Parallel()
	h, w := openWired(t)
	h.save(t, "u", "a", "b")
	w.at(cut{mark: committing, before: true})
	_, err := h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b", "a"))
	require.True(t, w.fired())
	require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err))
	require.Equal(t, 1, h.version(t))
	h.save(t, "u", "b", "a")
	require.Equal(t, 2, h.version(t))
}

func TestAConnectionThatDiesBeforeTheCommitIsReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]cut{
		"the list was never asked for": {mark: "list\x00", before: true},
		"the list never came":          {mark: "list\x00"},
		"half of the list came":        {mark: "list\x00", bytes: 200},
		"the lock was never asked for": {mark: "ensure\x00", before: true},
		"the lock was taken":           {mark: "ensure\x00"},
		"the tombstones never came":    {mark: "tombstones\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, w := openWired(t)
			w.at(c)
			res := h.save(t, "u", "a", "b")
			require.True(t, w.fired())
			require.Equal(t, preferences.Summary{Created: 2, Total: 2}, res.Summary)
			require.Equal(t, 1, h.version(t))
		})
	}
}

func TestADeletionWhoseCommitIsLostIsDoneOnceWhenItComesAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]cut{
		"the state's answer is lost":      {mark: "entitystate\x00"},
		"the state never left":            {mark: "entitystate\x00", before: true},
		"the clean's rows are lost":       {mark: "chunkclean\x00"},
		"the clean's end is lost":         {mark: "opfinish\x00"},
		"the clean's commit is lost":      {mark: committing, skip: 1},
		"the clean's commit never left":   {mark: committing, skip: 1, before: true},
		"the inbox's answer never came":   {mark: "seen\x00"},
		"the operation's insert is lost":  {mark: "opinsert\x00"},
		"the victims' answer is cut half": {mark: "victims\x00", bytes: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, w := openWired(t)
			h.save(t, "u", "a", "x", "b")
			w.at(c)
			at := time.Now()
			for range 2 {
				_, _, err := h.EntityDeleted(t.Context(), delivery("e1"), account("x"), at)
				if err != nil {
					require.Equal(t, fault.ReasonOutcomeUnknown, fault.ReasonOf(err))
				}
			}
			require.True(t, w.fired())
			require.Equal(t, 2, h.version(t))
			require.Len(t, h.cleaned(t), 1)
			require.Empty(t, h.broken(t))
		})
	}
}

func TestAStoreWithoutAServerSaysSo(t *testing.T) {
	t.Parallel()
	h, w := openWiredUnchecked(t)
	h.save(t, "u", "a")
	require.NoError(t, w.Close())
	w.at(cut{mark: "list\x00"})
	_, err := h.List(t.Context(), "u", "accounts")
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	_, err = h.Replace(t.Context(), "u", "accounts", alice, preferences.Terms{}, inputs("b"))
	require.Equal(t, fault.ReasonUnavailable, fault.ReasonOf(err), "nothing was sent: the outcome is known")
	require.Error(t, h.store.Ping(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.List(ctx, "u", "accounts")
	require.True(t, errors.Is(err, context.Canceled) || fault.CodeOf(err) == fault.Unavailable)
}
