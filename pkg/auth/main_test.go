package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/auth"
)

const (
	issuer   = "https://idp.example"
	audience = "prefs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signer is one key of a provider.
type signer struct {
	id      string
	method  jwt.SigningMethod
	private crypto.Signer
}

// keyring holds keys that all tests share: making RSA keys takes long.
var keyring = sync.OnceValue(func() map[string]signer {
	must := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return key
	}
	ecKey := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		return must(key, err)
	}
	rsaKey := func(bits int) crypto.Signer { key, err := rsa.GenerateKey(rand.Reader, bits); return must(key, err) }
	edKey := func() crypto.Signer { _, key, err := ed25519.GenerateKey(rand.Reader); return must(key, err) }
	return map[string]signer{
		"rsa":       {"rsa", jwt.SigningMethodRS256, rsaKey(2048)},
		"short rsa": {"short rsa", jwt.SigningMethodRS256, rsaKey(1024)},
		"ec":        {"ec", jwt.SigningMethodES256, ecKey(elliptic.P256())},
		"p384":      {"p384", jwt.SigningMethodES384, ecKey(elliptic.P384())},
		"ed":        {"ed", jwt.SigningMethodEdDSA, edKey()},
		"next":      {"next", jwt.SigningMethodEdDSA, edKey()},
		"unknown":   {"unknown", jwt.SigningMethodEdDSA, edKey()},
	}
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk spells the public half of a key.
func (s signer) jwk(more map[string]any) map[string]any {
	k := map[string]any{"kid": s.id}
	switch public := s.private.Public().(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		k["kty"], k["crv"], k["x"], k["y"] = "EC", public.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(public)
	}
	for name, value := range more {
		k[name] = value
	}
	return k
}

func keySet(keys ...map[string]any) []byte {
	set, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return set
}

// sign signs claims, with changes to the header.
func (s signer) sign(tb testing.TB, c jwt.MapClaims, header map[string]any) string {
	tb.Helper()
	token := jwt.NewWithClaims(s.method, c)
	token.Header["kid"] = s.id
	for name, value := range header {
		if value == nil {
			delete(token.Header, name)
			continue
		}
		token.Header[name] = value
	}
	signed, err := token.SignedString(s.private)
	require.NoError(tb, err)
	return signed
}

// signRaw signs a payload that no encoder would write.
func (s signer) signRaw(tb testing.TB, header, payload string) string {
	tb.Helper()
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := s.method.Sign(text, s.private)
	require.NoError(tb, err)
	return text + "." + b64(signature)
}

// with returns good claims with changes; nil removes one.
func with(changes map[string]any) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{"sub": "alice", "iss": issuer, "aud": audience, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()}
	for name, value := range changes {
		if value == nil {
			delete(c, name)
			continue
		}
		c[name] = value
	}
	return c
}

// provider is an identity provider without a network, so that it can live in a
// synctest bubble.
type provider struct {
	mu      sync.Mutex
	body    []byte
	down    error
	block   chan struct{} // if set, a fetch waits for it
	fetches int
}

func (p *provider) RoundTrip(request *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.fetches++
	body, down, block := p.body, p.down, p.block
	p.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-request.Context().Done():
			return nil, request.Context().Err()
		}
	}
	if down != nil {
		return nil, down
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Request: request}, nil
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func newVerifier(tb testing.TB, p *provider, change func(*auth.Config)) *auth.Verifier {
	tb.Helper()
	cfg := auth.Config{
		Issuer: issuer, Audience: audience, JWKSURL: "https://idp.example/keys",
		Client: &http.Client{Transport: p},
	}
	if change != nil {
		change(&cfg)
	}
	v, err := auth.NewVerifier(cfg, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	return v
}

// start runs the verifier until the test ends.
func start(t *testing.T, v *auth.Verifier) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}
