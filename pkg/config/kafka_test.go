package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
)

func TestKafkaSettingsByVariables(t *testing.T) {
	t.Parallel()
	authority := kafkatest.NewAuthority(t)
	certFile, keyFile := authority.File("ca.pem"), authority.File("ca.key")
	cfg, err := parse(required(map[string]string{
		"PREFS_KAFKA_TLS_ENABLED": "on", "PREFS_KAFKA_TLS_CERT_FILE": certFile, "PREFS_KAFKA_TLS_KEY_FILE": keyFile,
		"PREFS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "PREFS_KAFKA_SASL_USERNAME": "u", "PREFS_KAFKA_SASL_PASSWORD_FILE": keyFile,
	}))
	require.NoError(t, err)
	require.True(t, cfg.Kafka.SASL.Enabled())
	require.Contains(t, cfg.Kafka.SASL.Password.Reveal(), "PRIVATE KEY")
	require.Equal(t, certFile, cfg.Kafka.TLS.CertFile)
}
