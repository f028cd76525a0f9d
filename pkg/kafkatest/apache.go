package kafkatest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

//go:embed server.properties.tmpl
var serverProperties string

// clusterID is the one that fetch.sh formats its checkpoint with.
const clusterID = "MkU3OEVBNTcwNTJENDM2Qg"

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
	oldestJava   = 17
)

// ApacheOptions says how to start Apache Kafka.
type ApacheOptions struct {
	Libs  string // the directory that deploy/testkafka/fetch.sh filled
	Dir   string // of the data; a later start on the same one continues from it
	Nodes int    // each is broker and controller; default 1

	// Listener returns where clients find a node that listens at an address;
	// default: there.
	Listener func(addr string) (advertised string, err error)
}

// Apache is a running Apache Kafka in KRaft mode.
type Apache struct {
	nodes []*ApacheNode
}

// ApacheNode is one process of a cluster.
type ApacheNode struct {
	id         int
	addr       string // where it listens
	advertised string // where clients find it
	controller string
	dir        string
	libs       string

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has
}

// StartApache starts a cluster and returns once every node serves clients.
func StartApache(ctx context.Context, opts ApacheOptions) (*Apache, error) {
	count := max(opts.Nodes, 1)
	addrs, err := freeAddrs(2 * count)
	if err != nil {
		return nil, err
	}
	if opts.Listener == nil {
		opts.Listener = func(addr string) (string, error) { return addr, nil }
	}
	a := &Apache{}
	for i := range count {
		advertised, err := opts.Listener(addrs[2*i])
		if err != nil {
			return nil, err
		}
		a.nodes = append(a.nodes, &ApacheNode{
			id:         i + 1,
			addr:       addrs[2*i],
			advertised: advertised,
			controller: addrs[2*i+1],
			dir:        filepath.Join(opts.Dir, fmt.Sprintf("node-%d", i+1)),
			libs:       opts.Libs,
		})
	}
	for _, n := range a.nodes {
		if err := errors.Join(n.format(a.nodes), n.start()); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	for _, n := range a.nodes {
		if err := n.await(ctx); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// Addrs implements Broker.
func (a *Apache) Addrs() []string {
	addrs := make([]string, len(a.nodes))
	for i, n := range a.nodes {
		addrs[i] = n.advertised
	}
	return addrs
}

// Close ends every process, asking nicely first.
func (a *Apache) Close() error {
	var wg sync.WaitGroup
	for _, n := range a.nodes {
		wg.Go(n.stop)
	}
	wg.Wait()
	return nil
}

// Kill implements Mortal: SIGKILL to every node.
func (a *Apache) Kill() {
	for _, n := range a.nodes {
		n.kill()
	}
}

// Revive implements Mortal: the same nodes on the same data.
func (a *Apache) Revive(tb testing.TB) {
	tb.Helper()
	for _, n := range a.nodes {
		if err := n.start(); err != nil {
			tb.Fatal(err)
		}
	}
	for _, n := range a.nodes {
		if err := n.await(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}

// freeAddrs returns loopback addresses that nobody listens on. They are held
// together, so that they differ, and lie below the ports that outgoing
// connections get: while a broker is down, a client that tries to reach it must
// not take its port.
func freeAddrs(n int) ([]string, error) {
	const low, high, attempts = 15_000, 32_000, 100
	var addrs []string
	for range attempts {
		if len(addrs) == n {
			return addrs, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", low+rand.IntN(high-low)))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		addrs = append(addrs, l.Addr().String())
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, low, high)
}

// format writes what `kafka-storage.sh format` would, without a JVM of its own:
// the directory's identity, and the feature levels that fetch.sh recorded.
func (n *ApacheNode) format(all []*ApacheNode) error {
	var voters []string
	for _, v := range all {
		voters = append(voters, fmt.Sprintf("%d@%s", v.id, v.controller))
	}
	replicas := min(len(all), 3)
	text := strings.NewReplacer(
		"{id}", strconv.Itoa(n.id),
		"{voters}", strings.Join(voters, ","),
		"{addr}", n.addr,
		"{advertised}", n.advertised,
		"{controller}", n.controller,
		"{dir}", n.dir,
		"{replicas}", strconv.Itoa(replicas),
		"{insync}", strconv.Itoa((replicas+1)/2),
	).Replace(serverProperties)
	metadata := filepath.Join(n.dir, "__cluster_metadata-0")
	if err := os.MkdirAll(metadata, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(n.dir+".properties", []byte(text), 0o600); err != nil {
		return err
	}
	identity := filepath.Join(n.dir, "meta.properties")
	if _, err := os.Stat(identity); err == nil {
		return nil // it holds data already
	}
	features, err := os.ReadFile(filepath.Join(n.libs, "bootstrap.checkpoint"))
	if err != nil {
		return err
	}
	checkpoint := filepath.Join(metadata, "00000000000000000000-0000000000.checkpoint")
	return errors.Join(
		os.WriteFile(checkpoint, features, 0o600),
		os.WriteFile(identity, fmt.Appendf(nil, "version=1\nnode.id=%d\ncluster.id=%s\n", n.id, clusterID), 0o600),
	)
}

func (n *ApacheNode) start() error {
	jars, err := filepath.Glob(filepath.Join(n.libs, "*.jar"))
	if err != nil {
		return err
	}
	slices.Sort(jars) // the class archive is only valid for the class path it was written with
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.Command("java",
		"-Xms64m", "-Xmx256m",
		// Short lives: no second compiler, no parallel collector.
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData",
		"-XX:SharedArchiveFile="+filepath.Join(n.libs, "kafka.jsa"),
		"-Dlog4j2.configurationFile="+filepath.Join(n.libs, "log4j2.xml"),
		"-cp", strings.Join(jars, ":"),
		"kafka.Kafka", n.dir+".properties")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // killed, most of the time
		close(exited)
	}()
	return nil
}

// await returns when the node answers, and knows itself as part of the cluster.
func (n *ApacheNode) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.addr), kgo.RetryTimeout(time.Second), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if n.registered(ctx, cl) {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.exited:
			return fmt.Errorf("Apache Kafka node %d exited: %s", n.id, n.tail())
		case <-ctx.Done():
			return fmt.Errorf("Apache Kafka node %d is not ready: %w: %s", n.id, ctx.Err(), n.tail())
		}
	}
}

func (n *ApacheNode) registered(ctx context.Context, cl *kgo.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl)
	if err != nil {
		return false
	}
	for _, b := range metadata.Brokers {
		if net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) == n.advertised {
			return true
		}
	}
	return false
}

func (n *ApacheNode) tail() string {
	const end = 4 << 10
	log, err := os.ReadFile(n.dir + ".log")
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-end):])
}

func (n *ApacheNode) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may be gone already
	<-n.exited
}

func (n *ApacheNode) stop() {
	if n.cmd == nil || n.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return
	}
	select {
	case <-n.exited:
	case <-time.After(stopTimeout):
		n.kill()
	}
}

// findLibs returns the directory of the jars, or why Apache Kafka cannot run.
func findLibs(ctx context.Context) (string, error) {
	dir := os.Getenv("KAFKA_LIBS")
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache", "kafka-4.4.0")
	}
	if _, err := os.Stat(filepath.Join(dir, ".done")); err != nil {
		return "", fmt.Errorf("no jars in %s: run make kafka-libs", dir)
	}
	out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("no Java: %w", err)
	}
	major := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out)
	if major == nil {
		return "", fmt.Errorf("unknown Java: %s", out)
	}
	if v, err := strconv.Atoi(string(major[1])); err != nil || v < oldestJava {
		return "", fmt.Errorf("version %s of Java is older than %d", major[1], oldestJava)
	}
	return dir, nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}
