package faults

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// gate stands before a broker. It lets in who speaks in plain text, as the story
// itself does, and who has a certificate that it trusts at the moment.
type gate struct {
	node  string
	mu    sync.Mutex
	cfg   *tls.Config
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func newGate(t *testing.T, broker *kafkatest.Detour, cfg *tls.Config) *gate {
	t.Helper()
	l, err := net.Listen("tcp", broker.Addrs()[0])
	require.NoError(t, err)
	g := &gate{node: broker.Node, cfg: cfg, conns: map[net.Conn]bool{}}
	g.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			g.all.Go(func() { g.serve(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		g.change(nil)
		g.all.Wait()
	})
	return g
}

// change makes everybody come again, and judges them differently.
func (g *gate) change(cfg *tls.Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cfg = cfg
	for conn := range g.conns {
		_ = conn.Close() // it may have ended
	}
}

// enter notes a connection, and says how it is judged.
func (g *gate) enter(conn net.Conn) *tls.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[conn] = true
	return g.cfg
}

func (g *gate) leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
	_ = conn.Close() // a second time, perhaps
}

// started is a connection whose first byte has been looked at.
type started struct {
	net.Conn

	r *bufio.Reader
}

func (s started) Read(p []byte) (int, error) { return s.r.Read(p) }

func (g *gate) serve(conn net.Conn) {
	const handshake = 22 // so a TLS connection begins, and no request of Kafka's
	cfg := g.enter(conn)
	defer g.leave(conn)
	looked := started{conn, bufio.NewReader(conn)}
	first, err := looked.r.Peek(1)
	if err != nil || cfg == nil {
		return
	}
	var client net.Conn = looked
	if first[0] == handshake {
		encrypted := tls.Server(looked, cfg)
		if encrypted.Handshake() != nil {
			return
		}
		client = encrypted
	}
	node, err := net.Dial("tcp", g.node)
	if err != nil {
		return
	}
	defer func() { _ = node.Close() }()
	g.all.Go(func() {
		_, _ = io.Copy(client, node)
		_ = conn.Close()
	})
	_, _ = io.Copy(node, client)
}

// TestABrokerThatRefusesUsStopsNobodyFromSaving: the broker does not believe our
// certificate, or we not its, or it grants us less than we need. Saves go on, the
// log says what to do, and when that is done all that waited arrives.
func TestABrokerThatRefusesUsStopsNobodyFromSaving(t *testing.T) {
	t.Parallel()
	const listed = 40
	ours, strangers := kafkatest.NewAuthority(t), kafkatest.NewAuthority(t)
	ours.SignClient(t)
	broker := kafkatest.InProcessBehind(t)
	at := net.IPv4(127, 0, 0, 2) // where the broker sends its clients
	good, strange, distrustful := ours.BrokerTLS(t, at, ours), strangers.BrokerTLS(t, at, ours), ours.BrokerTLS(t, at, strangers)
	gate := newGate(t, broker, good)
	stage := prefstest.NewStage(t, broker)
	stage.Env = []string{
		"PREFS_KAFKA_TLS_ENABLED=on", "PREFS_KAFKA_TLS_CA_FILE=" + ours.File("ca.pem"),
		"PREFS_KAFKA_TLS_CERT_FILE=" + ours.File("client.pem"), "PREFS_KAFKA_TLS_KEY_FILE=" + ours.File("client.key"),
	}
	stage.Save(t, []string{"carol"}, accounts(listed)...)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	papersOf := func(cfg *tls.Config) func() func() {
		return func() func() {
			gate.change(cfg)
			return func() { gate.change(good) }
		}
	}
	denied := func(topic string, err *kerr.Error, requests ...kmsg.Key) func() func() {
		return func() func() {
			return broker.Cluster().Fault(kfake.Fault{Keys: requests, Topic: topic, Err: err, Count: -1}).Remove
		}
	}
	for gone, day := range []struct {
		name, advice string
		refuse       func() (grant func())
	}{
		{"our certificate is not believed", "the broker refuses our certificate: see PREFS_KAFKA_TLS_CERT_FILE", papersOf(distrustful)},
		{"the broker's certificate is a stranger's", "certificate is not trusted: see PREFS_KAFKA_TLS_CA_FILE", papersOf(strange)},
		{"we may not write", "with Write if we publish", denied(prefstest.Updates, kerr.TopicAuthorizationFailed, kmsg.Produce)},
		{"we may not write as idempotent producers do", "grant our principal IdempotentWrite", denied(prefstest.Updates, kerr.ClusterAuthorizationFailed, kmsg.Produce)},
		{"we may not be of the group", "grant our principal Read on the group", denied("", kerr.GroupAuthorizationFailed, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.OffsetCommit)},
	} {
		began := time.Now()
		load := unhurried(t, stage, api, listed)
		load.Flow(t, 10)
		grant := day.refuse()
		stage.Produce(t, prefstest.Deleted("e-"+day.name, account(gone), time.Now()))
		load.Flow(t, 20)
		prefstest.Eventually(t, prefstest.Patience, day.name+": the log says what to do", func() bool {
			return strings.Contains(api.Log()+consumer.Log(), day.advice)
		})
		load.Flow(t, 10)
		grant()
		saves := load.Check(t)
		require.Equal(t, gone+1, stage.Settle(t).Cleans, day.name)
		t.Logf("%s: %d saves in %s", day.name, saves, time.Since(began).Round(time.Millisecond))
	}
	require.Empty(t, stage.Topic(t, prefstest.DeadLetters))
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
}
