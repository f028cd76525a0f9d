// Package kafkatest proves that pkg/kafka does what it promises, on any
// broker: the in-process one, a real Apache Kafka started from its jars, or
// one that is running already. Other packages take their broker from it.
package kafkatest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/devkafka"
)

// Broker is a cluster to test against.
type Broker interface {
	Addrs() []string
}

// Mortal is a broker that can crash and come back with what it had on disk.
type Mortal interface {
	Broker
	Kill()
	Revive(tb testing.TB)
}

// Faulty is a broker that can be made to misbehave.
type Faulty interface {
	Broker
	Cluster() *kfake.Cluster
}

// external is a broker that somebody else runs.
type external []string

// Addrs implements Broker.
func (e external) Addrs() []string { return e }

// InProcess starts a broker of three nodes inside the process. It ends with
// the test.
func InProcess(tb testing.TB) Broker {
	tb.Helper()
	b, err := devkafka.Start(devkafka.Config{Nodes: 3}, Logger(tb))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return b
}

// Detour is an in-process broker of one node that sends its clients to another
// address than its own. Whoever listens there stands between them.
type Detour struct {
	*devkafka.Broker

	Node string // where it listens itself
}

// InProcessBehind starts a broker that nobody reaches until somebody listens at
// Addrs, on 127.0.0.2. It ends with the test.
func InProcessBehind(tb testing.TB) *Detour {
	tb.Helper()
	addrs, err := freeAddrs(1)
	require.NoError(tb, err)
	b, err := devkafka.Start(devkafka.Config{Addr: addrs[0], Advertise: "127.0.0.2"}, Logger(tb))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return &Detour{b, addrs[0]}
}

// mortal is an in-process broker of one node, which can be stopped and started
// on what it has written.
type mortal struct {
	*devkafka.Broker

	cfg devkafka.Config
}

// InProcessMortal starts an in-process broker that can go away for a while. It
// ends with the test.
func InProcessMortal(tb testing.TB) Broker {
	tb.Helper()
	addrs, err := freeAddrs(1)
	require.NoError(tb, err)
	m := &mortal{cfg: devkafka.Config{Addr: addrs[0], Dir: tb.TempDir()}}
	m.Revive(tb)
	tb.Cleanup(m.Kill)
	return m
}

// Kill implements Mortal.
func (m *mortal) Kill() { _ = m.Close() } // nothing that a test could do about it

// Revive implements Mortal.
func (m *mortal) Revive(tb testing.TB) {
	tb.Helper()
	b, err := devkafka.Start(m.cfg, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	m.Broker = b
}

// Real returns the broker that PREFS_TEST_KAFKA names, or starts one node of
// Apache Kafka that ends with the test. Without the jars or Java it skips the
// test, or fails it where REQUIRE_REAL_KAFKA is set.
func Real(tb testing.TB) Broker {
	tb.Helper()
	if b := named(); b != nil {
		return b
	}
	return startApache(tb, 1)
}

// named returns the broker that PREFS_TEST_KAFKA names, or nil.
func named() Broker {
	if addrs := os.Getenv("PREFS_TEST_KAFKA"); addrs != "" {
		return external(strings.Split(addrs, ","))
	}
	return nil
}

func startApache(tb testing.TB, nodes int) *Apache {
	tb.Helper()
	return startApacheWith(tb, ApacheOptions{Nodes: nodes})
}

func startApacheWith(tb testing.TB, opts ApacheOptions) *Apache {
	tb.Helper()
	var err error
	if opts.Libs, err = findLibs(tb.Context()); err != nil {
		missing(tb, err)
	}
	opts.Dir = tb.TempDir()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	a, err := StartApache(ctx, opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, a.Close()) })
	return a
}

func missing(tb testing.TB, err error) {
	tb.Helper()
	if realRequired() {
		tb.Fatalf("REQUIRE_REAL_KAFKA is set, but Apache Kafka cannot be started: %v", err)
	}
	tb.Skipf("APACHE KAFKA IS NOT TESTED HERE: %v", err)
}

func realRequired() bool {
	v := os.Getenv("REQUIRE_REAL_KAFKA")
	return v != "" && v != "0" && v != "false"
}

// shared is the broker of the test binary, started when it is first wanted.
var shared struct {
	sync.Mutex
	broker Broker
	stop   func() error
	dir    string
}

// Shared returns the broker that all tests of the binary use, each with topics
// and groups of its own: PREFS_TEST_KAFKA if it is set, else Apache Kafka from
// its jars, else, loudly, the in-process one. The binary's TestMain must be
// Main.
func Shared(tb testing.TB) Broker {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil {
		require.NoError(tb, startShared(tb))
	}
	return shared.broker
}

func startShared(tb testing.TB) error {
	tb.Helper()
	if shared.broker = named(); shared.broker != nil {
		return nil
	}
	libs, err := findLibs(tb.Context())
	if err == nil {
		return startSharedApache(libs)
	}
	if realRequired() {
		return fmt.Errorf("REQUIRE_REAL_KAFKA is set, but Apache Kafka cannot be started: %w", err)
	}
	fmt.Fprintf(os.Stderr, "kafkatest: NOT APACHE KAFKA, but the in-process broker: %v\n", err)
	b, err := devkafka.Start(devkafka.Config{Nodes: 3}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	shared.broker, shared.stop = b, b.Close
	return nil
}

func startSharedApache(libs string) error {
	dir, err := os.MkdirTemp("", "kafkatest-")
	if err != nil {
		return err
	}
	a, err := StartApache(context.Background(), ApacheOptions{Libs: libs, Dir: filepath.Join(dir, "data")})
	if err != nil {
		return err
	}
	shared.broker, shared.stop, shared.dir = a, a.Close, dir
	return nil
}

// Main is the TestMain of a package whose tests use Shared. It ends the
// process, with a failure if a goroutine is left.
func Main(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "kafkatest: stop the broker:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "kafkatest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.stop == nil {
		return nil
	}
	if err := shared.stop(); err != nil {
		return err
	}
	return os.RemoveAll(shared.dir)
}

// Logger writes to the test's own log.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), nil))
}
