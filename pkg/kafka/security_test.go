package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// authority signs certificates into a directory of its own.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) sign(t *testing.T, name string, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.Subject = pkix.Name{CommonName: name}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := tmpl, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write := func(file, kind string, b []byte) {
		require.NoError(t, os.WriteFile(a.file(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+".key", "PRIVATE KEY", pkcs8)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}

// secureBroker wants a client certificate and a password.
func secureBroker(t *testing.T, a *authority) []string {
	t.Helper()
	a.sign(t, "broker", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	a.sign(t, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pair, err := tls.LoadX509KeyPair(a.file("broker.pem"), a.file("broker.key"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "topic"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "secret"),
		kfake.Superuser("SCRAM-SHA-256", "scram256", "secret"),
		kfake.Superuser("SCRAM-SHA-512", "scram512", "secret"),
		kfake.TLS(&tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		}))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// roundTrip publishes and consumes one message: the two network stacks.
func roundTrip(t *testing.T, cfg kafka.Config) error {
	t.Helper()
	c, err := kafka.Open(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	msg := outbox.Message{EventID: uuid.New(), Topic: "topic", Value: []byte("v")}
	p := kafka.NewPublisher(c, kafka.PublisherConfig{RetryFor: 50 * time.Millisecond})
	if err := p.Publish(ctx, []outbox.Message{msg})[0]; err != nil {
		return err
	}
	seen := false
	g := kafka.NewGroup(kafka.GroupConfig{Client: c, Group: "group-" + uuid.NewString(), Topics: []string{"topic"}},
		func(context.Context, kafka.Record) error {
			seen = true
			cancel()
			return nil
		}, slog.New(slog.DiscardHandler))
	require.NoError(t, g.Run(ctx))
	require.True(t, seen)
	return nil
}

func TestEncryptionAndPasswords(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	base := kafka.Config{
		Brokers: secureBroker(t, a), ClientID: "test",
		TLS: kafka.TLS{Enabled: true, CAFile: a.file("ca.pem"), CertFile: a.file("client.pem"), KeyFile: a.file("client.key")},
	}
	for mechanism, user := range map[string]string{"PLAIN": "plain", "SCRAM-SHA-256": "scram256", "scram-sha-512": "scram512"} {
		cfg := base
		cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: user, Password: "secret"}
		require.NoError(t, roundTrip(t, cfg), mechanism)
		cfg.SASL.Password = "wrong"
		err := roundTrip(t, cfg)
		require.ErrorIs(t, err, outbox.ErrUnreachable, mechanism)
		require.NotContains(t, err.Error(), "wrong")
	}

	stranger := base
	stranger.SASL = kafka.SASL{Mechanism: "PLAIN", Username: "plain", Password: "secret"}
	stranger.TLS.CertFile, stranger.TLS.KeyFile = "", ""
	require.ErrorIs(t, roundTrip(t, stranger), outbox.ErrUnreachable, "without a client certificate")
	stranger.TLS = kafka.TLS{Enabled: true, CAFile: newAuthority(t).file("ca.pem")}
	require.ErrorIs(t, roundTrip(t, stranger), outbox.ErrUnreachable, "with another authority")
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	cfg := kafka.Config{SASL: kafka.SASL{Mechanism: "PLAIN", Username: "user", Password: "hunter2"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(format, cfg)
		require.NotContains(t, text, "hunter2", format)
		require.Contains(t, text, "user", format)
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	t.Parallel()
	junk := filepath.Join(t.TempDir(), "junk.pem")
	require.NoError(t, os.WriteFile(junk, []byte("junk"), 0o600))
	brokers := []string{"127.0.0.1:9092"}
	for want, cfg := range map[string]kafka.Config{
		"no broker is configured":                       {},
		`broker "localhost" is not host:port`:           {Brokers: []string{"localhost"}},
		`unknown SASL mechanism "GSSAPI"`:               {Brokers: brokers, SASL: kafka.SASL{Mechanism: "GSSAPI"}},
		"read Kafka CA file":                            {Brokers: brokers, TLS: kafka.TLS{Enabled: true, CAFile: "/does/not/exist"}},
		"no certificate in Kafka CA file":               {Brokers: brokers, TLS: kafka.TLS{Enabled: true, CAFile: junk}},
		"load Kafka client certificate":                 {Brokers: brokers, TLS: kafka.TLS{Enabled: true, CertFile: junk, KeyFile: junk}},
		"load Kafka client certificate: open : no such": {Brokers: brokers, TLS: kafka.TLS{Enabled: true, CertFile: junk}},
	} {
		_, err := kafka.Open(cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestTimesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	c, err := kafka.Open(kafka.Config{Brokers: []string{"127.0.0.1:1"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	valid := kafka.GroupConfig{Client: c, Group: "g", Topics: []string{"t"}}
	for want, change := range map[string]func(*kafka.GroupConfig){
		"no client":         func(c *kafka.GroupConfig) { c.Client = nil },
		"no group id":       func(c *kafka.GroupConfig) { c.Group = "" },
		"or no topics":      func(c *kafka.GroupConfig) { c.Topics = nil },
		"handler timeout":   func(c *kafka.GroupConfig) { c.HandlerTimeout = 15 * time.Second },
		"rebalance timeout": func(c *kafka.GroupConfig) { c.RevokeGrace = time.Minute },
		"session timeout":   func(c *kafka.GroupConfig) { c.Heartbeat = 5 * time.Second },
		"retry minimum":     func(c *kafka.GroupConfig) { c.RetryMin = time.Minute },
	} {
		cfg := valid
		change(&cfg)
		err := kafka.NewGroup(cfg, nil, slog.New(slog.DiscardHandler)).Run(t.Context())
		require.ErrorContains(t, err, want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	g := kafka.NewGroup(valid, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, g.Run(ctx), "an outage is no reason to fail")
	require.False(t, g.Ready())
	require.True(t, g.Healthy())
	require.Empty(t, g.Lags())
	require.NotNil(t, g.Lags())
}
