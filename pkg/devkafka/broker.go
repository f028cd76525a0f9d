// Package devkafka is a broker that speaks the Kafka protocol inside the
// process, for `make run` and for tests. Any Kafka client can use it. It is
// not Apache Kafka: it replicates nothing, trusts everybody who can connect
// and syncs nothing to disk, so it is never linked into the product.
package devkafka

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const defaultUpkeep = 5 * time.Minute

// Config says where a broker listens and what it holds.
type Config struct {
	// Addr is the host:port to listen on. Port 0 is any free one, an empty
	// host every interface. Default 127.0.0.1:0.
	Addr string

	// Advertise is the host that clients are told to connect to. Default: the
	// host of Addr, or 127.0.0.1 when that is every interface.
	Advertise string

	// Dir keeps the logs from one start to the next. Empty means memory only.
	Dir string

	// Topics are created when they do not exist.
	Topics []Topic

	// Nodes is the number of brokers, default 1. More than one, for tests that
	// move leaders, needs port 0.
	Nodes int

	// Settings are broker settings such as message.max.bytes.
	Settings map[string]string

	// Upkeep is how often retention and compaction run. Default 5 minutes.
	Upkeep time.Duration
}

// Topic is a topic to create.
type Topic struct {
	Name       string
	Partitions int
	Config     map[string]string
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addrs   []string
	lock    *os.File // nil for memory only
	once    sync.Once
	stop    chan struct{}
	stopped sync.WaitGroup
}

// Start starts a broker. It runs until Close.
func Start(cfg Config, log *slog.Logger) (b *Broker, err error) {
	listener, err := newListener(cfg)
	if err != nil {
		return nil, err
	}
	opts := []kfake.Opt{
		kfake.Ports(listener.ports...),
		kfake.ListenFn(listener.listen),
		kfake.WithLogger(logger{log}),
		kfake.BrokerConfigs(cfg.Settings),
	}
	b = &Broker{stop: make(chan struct{})}
	if cfg.Dir != "" {
		if b.lock, err = lock(cfg.Dir); err != nil {
			return nil, err
		}
		opts = append(opts, kfake.DataDir(filepath.Join(cfg.Dir, "log")))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
			b = nil
		}
	}()
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		return b, fmt.Errorf("start the development broker: %w", err)
	}
	b.addrs = b.cluster.ListenAddrs()
	for _, t := range cfg.Topics {
		if err := b.createMissing(t); err != nil {
			return b, err
		}
	}
	b.stopped.Go(func() { b.upkeep(cmp.Or(cfg.Upkeep, defaultUpkeep)) })
	return b, nil
}

func (b *Broker) createMissing(t Topic) error {
	if b.cluster.TopicInfo(t.Name) != nil {
		return nil
	}
	if err := b.cluster.CreateTopic(t.Name, int32(t.Partitions), t.Config); err != nil { //nolint:gosec // a handful
		return fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	return nil
}

// upkeep does what the broker's own clean-up does not: that one starts only
// for topics with explicit settings, and not after a restart.
func (b *Broker) upkeep(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			b.cluster.ApplyRetention()
			b.cluster.Compact()
		}
	}
}

// Addrs returns the addresses that clients connect to.
func (b *Broker) Addrs() []string { return b.addrs }

// Cluster gives tests the broker itself, to inject faults and move leaders.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close saves what a later start continues from and stops the broker.
func (b *Broker) Close() error {
	var err error
	b.once.Do(func() {
		close(b.stop)
		b.stopped.Wait()
		if b.cluster != nil {
			b.cluster.Close()
		}
		if b.lock != nil {
			err = b.lock.Close()
		}
	})
	return err
}

// lock makes sure that one process alone writes into dir: two would destroy
// each other's files.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create the broker's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator's directory
	if err != nil {
		return nil, fmt.Errorf("lock the broker's directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another broker uses %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// listener opens the sockets. The broker asks for loopback ports only.
type listener struct {
	host      string
	advertise string
	ports     []int
}

func newListener(cfg Config) (*listener, error) {
	host, service, err := net.SplitHostPort(cmp.Or(cfg.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("broker address: %w", err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, fmt.Errorf("broker address %s: %w", cfg.Addr, err)
	}
	nodes := max(cfg.Nodes, 1)
	if nodes > 1 && port != 0 {
		return nil, fmt.Errorf("%d brokers cannot share the port %d", nodes, port)
	}
	l := &listener{host: host, advertise: cfg.Advertise, ports: make([]int, nodes)}
	l.ports[0] = port
	if l.advertise == "" {
		l.advertise = host
		if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
			l.advertise = "127.0.0.1"
		}
	}
	return l, nil
}

func (l *listener) listen(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen(network, net.JoinHostPort(l.host, port)) //nolint:noctx // the broker's signature has none
	if err != nil {
		return nil, err
	}
	_, port, err = net.SplitHostPort(inner.Addr().String())
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return &advertised{Listener: inner, addr: net.JoinHostPort(l.advertise, port)}, nil
}

// advertised is a listener that says it is somewhere else: its address is what
// the broker tells its clients.
type advertised struct {
	net.Listener
	addr string
}

// Addr implements net.Listener.
func (a *advertised) Addr() net.Addr { return address(a.addr) }

type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// logger passes on what the broker has to complain about.
type logger struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, msg string, args ...any) {
	if level == kfake.LogLevelNone || level > kfake.LogLevelWarn {
		return
	}
	l.log.Warn("development broker", slog.String("event", fmt.Sprintf(msg, args...)))
}
