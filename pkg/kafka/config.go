// Package kafka speaks to a Kafka cluster. It is the only package of the
// product that imports a Kafka library, and none of the library's types leave
// it: an idempotent Publisher for the outbox, a Group that consumes in order
// and at least once, and topic administration.
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

const (
	defaultDialTimeout = 5 * time.Second
	defaultMetadataTTL = time.Second
	requestTimeout     = 10 * time.Second // of one administrative request
)

// Config says how to reach a cluster.
type Config struct {
	Brokers     []string // host:port of any of them
	ClientID    string   // shown in the broker's logs and quotas
	TLS         TLS
	SASL        SASL
	DialTimeout time.Duration // connecting, TLS and SASL together; default 5 s
	MetadataTTL time.Duration // how late a moved leader is noticed; default 1 s

	// MetadataTopics names every topic that will be published to or consumed.
	// Messages to other topics cannot be routed. Empty means all topics of the
	// cluster, which costs their metadata every MetadataTTL.
	MetadataTopics []string
}

// TLS encrypts connections, and proves the client's identity when it has a
// certificate.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM; empty means the system's authorities
	CertFile   string // PEM, with KeyFile
	KeyFile    string
	ServerName string // when it differs from the broker's host
}

// SASL authenticates with a name and a password.
type SASL struct {
	Mechanism string // empty for none, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Username  string
	Password  string
}

// String hides the password.
func (s SASL) String() string { return s.Mechanism + " as " + s.Username }

// GoString hides the password.
func (s SASL) GoString() string { return s.String() }

func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil //nolint:nilnil // no TLS is a valid configuration
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read Kafka CA file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in Kafka CA file %s", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load Kafka client certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch strings.ToUpper(s.Mechanism) {
	case "":
		return nil, nil //nolint:nilnil // no authentication is a valid configuration
	case "PLAIN":
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, s.Username, s.Password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, s.Username, s.Password)
	default:
		return nil, fmt.Errorf("unknown SASL mechanism %q: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
	}
}

// Client is the process's connection to a cluster. Create one, share it, close
// it last.
type Client struct {
	cfg       Config
	tls       *tls.Config
	sasl      sasl.Mechanism
	net       *network
	transport *kafkago.Transport
	addr      net.Addr
}

// Open prepares a client. It does not connect: a cluster that is away when the
// process starts is the same outage as one that goes away later.
func Open(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("no broker is configured")
	}
	for _, b := range cfg.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("broker %q is not host:port: %w", b, err)
		}
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = defaultDialTimeout
	}
	if cfg.MetadataTTL <= 0 {
		cfg.MetadataTTL = defaultMetadataTTL
	}
	c := &Client{cfg: cfg, addr: kafkago.TCP(cfg.Brokers...)}
	var err error
	if c.tls, err = cfg.TLS.config(); err != nil {
		return nil, err
	}
	if c.sasl, err = cfg.SASL.mechanism(); err != nil {
		return nil, fmt.Errorf("configure Kafka authentication: %w", err)
	}
	c.net = newNetwork(cfg.DialTimeout)
	c.transport = c.newTransport(c.net, cfg.MetadataTopics)
	return c, nil
}

// Close closes every connection. Requests still running fail.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	c.net.close()
	return nil
}

// newTransport serves the request API: produce, fetch, administration.
func (c *Client) newTransport(n *network, topics []string) *kafkago.Transport {
	return &kafkago.Transport{
		Dial:           n.dial,
		DialTimeout:    c.cfg.DialTimeout,
		ClientID:       c.cfg.ClientID,
		TLS:            c.tls,
		SASL:           c.sasl,
		MetadataTTL:    c.cfg.MetadataTTL,
		MetadataTopics: topics,
	}
}

// newDialer serves the group API, which is the library's other network stack.
func (c *Client) newDialer(n *network) *kafkago.Dialer {
	return &kafkago.Dialer{
		DialFunc:      n.dial,
		Timeout:       c.cfg.DialTimeout,
		ClientID:      c.cfg.ClientID,
		TLS:           c.tls,
		SASLMechanism: c.sasl,
	}
}

// requests returns a client of the request API whose requests end after d.
func (c *Client) requests(d time.Duration) *kafkago.Client {
	return &kafkago.Client{Addr: c.addr, Timeout: d, Transport: c.transport}
}

// partitions returns how many partitions each topic has. Topics that the
// cluster does not know are absent. The answer is at most MetadataTTL old.
func (c *Client) partitions(ctx context.Context, topics ...string) (map[string]int, error) {
	m, err := c.requests(requestTimeout).Metadata(ctx, &kafkago.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(topics))
	for _, t := range m.Topics {
		if t.Error == nil && len(t.Partitions) > 0 {
			counts[t.Name] = len(t.Partitions)
		}
	}
	return counts, nil
}
