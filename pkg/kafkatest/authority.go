package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority signs certificates into a directory of its own.
type Authority struct {
	Cert *x509.Certificate
	dir  string
	key  *ecdsa.PrivateKey
}

// NewAuthority returns an authority whose own certificate is in ca.pem.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{dir: tb.TempDir()}
	a.Cert, a.key = a.Sign(tb, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// File is where a file of the authority is.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

// Sign writes a certificate that is good for an hour to name.pem, and its key to
// name.key.
func (a *Authority) Sign(tb testing.TB, name string, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.Subject = pkix.Name{CommonName: name}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := tmpl, key
	if a.Cert != nil {
		parent, signer = a.Cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	require.NoError(tb, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	write := func(file, kind string, b []byte) {
		require.NoError(tb, os.WriteFile(a.File(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+".key", "PRIVATE KEY", pkcs8)
	cert, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	return cert, key
}

// SignClient writes the certificate of a client to client.pem, and its key to
// client.key.
func (a *Authority) SignClient(tb testing.TB) {
	tb.Helper()
	a.Sign(tb, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// BrokerTLS is what a broker shows at an address, and what it wants to see: a
// certificate of a client that an authority has signed, perhaps another one.
func (a *Authority) BrokerTLS(tb testing.TB, addr net.IP, clients *Authority) *tls.Config {
	tb.Helper()
	a.Sign(tb, "broker", &x509.Certificate{IPAddresses: []net.IP{addr}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.LoadX509KeyPair(a.File("broker.pem"), a.File("broker.key"))
	require.NoError(tb, err)
	pool := x509.NewCertPool()
	pool.AddCert(clients.Cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
}
