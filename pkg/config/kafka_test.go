package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", der)
}

func TestKafkaSettingsByVariables(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t)
	cfg, err := parse(required(map[string]string{
		"PREFS_KAFKA_TLS_ENABLED": "on", "PREFS_KAFKA_TLS_CERT_FILE": certFile, "PREFS_KAFKA_TLS_KEY_FILE": keyFile,
		"PREFS_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "PREFS_KAFKA_SASL_USERNAME": "u", "PREFS_KAFKA_SASL_PASSWORD_FILE": keyFile,
	}))
	require.NoError(t, err)
	require.True(t, cfg.Kafka.SASL.Enabled())
	require.Contains(t, cfg.Kafka.SASL.Password.Reveal(), "PRIVATE KEY")
	require.Equal(t, certFile, cfg.Kafka.TLS.CertFile)
}
