package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// secureBroker wants a client certificate and a password.
func secureBroker(t *testing.T, a *kafkatest.Authority) []string {
	t.Helper()
	a.SignClient(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "topic"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "secret"),
		kfake.Superuser("SCRAM-SHA-256", "scram256", "secret"),
		kfake.Superuser("SCRAM-SHA-512", "scram512", "secret"),
		kfake.TLS(a.BrokerTLS(t, net.IPv4(127, 0, 0, 1), a)))
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
	a := kafkatest.NewAuthority(t)
	base := kafka.Config{
		Brokers: secureBroker(t, a), ClientID: "test",
		TLS: kafka.TLS{Enabled: true, CAFile: a.File("ca.pem"), CertFile: a.File("client.pem"), KeyFile: a.File("client.key")},
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
	err := roundTrip(t, stranger)
	require.ErrorIs(t, err, outbox.ErrUnreachable, "without a client certificate")
	require.ErrorContains(t, err, "PREFS_KAFKA_TLS_CERT_FILE")
	stranger.TLS = kafka.TLS{Enabled: true, CAFile: kafkatest.NewAuthority(t).File("ca.pem")}
	err = roundTrip(t, stranger)
	require.ErrorIs(t, err, outbox.ErrUnreachable, "with another authority")
	require.ErrorContains(t, err, "PREFS_KAFKA_TLS_CA_FILE")
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
