package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

func trusting(t *testing.T, key *auth.DevKey) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: key}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return v
}

func sign(t *testing.T, key *auth.DevKey, g auth.Grant) string {
	t.Helper()
	token, err := key.Sign(g)
	require.NoError(t, err)
	return token
}

func TestADevKeySignsWhatItsVerifierTrusts(t *testing.T) {
	t.Parallel()
	key, err := auth.NewDevKey()
	require.NoError(t, err)
	v := trusting(t, key)
	require.NoError(t, v.Ready(t.Context()))
	start(t, v)
	p, err := v.Verify(t.Context(), sign(t, key, auth.Grant{Subject: "alice", Scopes: []string{auth.ScopeAdmin}}))
	require.NoError(t, err)
	require.Equal(t, "alice", p.Subject)
	require.True(t, p.Has(auth.ScopeSystem))

	other, err := auth.NewDevKey()
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), sign(t, other, auth.Grant{Subject: "alice"}))
	require.Equal(t, fault.Unauthenticated, fault.CodeOf(err))
	for _, g := range []auth.Grant{{Subject: "a", Issuer: "x"}, {Subject: "a", Audience: "x"}, {Subject: "a", Lifetime: -1e12}} {
		_, err = v.Verify(t.Context(), sign(t, key, g))
		require.Equal(t, fault.Unauthenticated, fault.CodeOf(err))
	}
	for _, subject := range []string{"", strings.Repeat("x", 256), "a\nb", "a\xff"} {
		_, err = key.Sign(auth.Grant{Subject: subject})
		require.Error(t, err)
	}
}

func TestADevKeyIsKeptForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "dev.key")
	key, err := auth.EnsureDevKey(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())

	again, err := auth.EnsureDevKey(path)
	require.NoError(t, err)
	_, err = trusting(t, again).Verify(t.Context(), sign(t, key, auth.Grant{Subject: "alice"}))
	require.NoError(t, err)
	require.ErrorIs(t, key.Save(path), fs.ErrExist)
	require.Error(t, key.Save(filepath.Join(path, "below a file")))
	_, err = auth.LoadDevKey(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestADevKeyCanBeAJWK(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	jwk, err := json.Marshal(map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "d": b64(private.Seed())})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key.json")
	require.NoError(t, os.WriteFile(path, jwk, 0o600))
	key, err := auth.LoadDevKey(path)
	require.NoError(t, err)
	_, err = trusting(t, key).Verify(t.Context(), sign(t, key, auth.Grant{Subject: "alice"}))
	require.NoError(t, err)
}

func TestOtherFilesAreNoDevKey(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	require.NoError(t, err)
	for name, content := range map[string]string{
		"empty":          "",
		"words":          "hunter2",
		"public JWK":     `{"kty":"OKP","crv":"Ed25519","x":"` + b64(public) + `"}`,
		"symmetric JWK":  `{"kty":"oct","k":"AAAA"}`,
		"another curve":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecDER})),
		"PEM of nothing": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
			_, err := auth.LoadDevKey(path)
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "hunter2")
			_, err = auth.EnsureDevKey(path)
			require.Error(t, err, "a file that is something else is not overwritten")
		})
	}
}

func TestADevKeyPublishesItself(t *testing.T) {
	t.Parallel()
	key, err := auth.NewDevKey()
	require.NoError(t, err)
	set, err := key.JWKS()
	require.NoError(t, err)
	require.NotContains(t, string(set), `"d"`)
	v := newVerifier(t, &provider{body: set}, nil)
	p, err := v.Verify(t.Context(), sign(t, key, auth.Grant{Subject: "alice", Issuer: issuer, Audience: audience}))
	require.NoError(t, err)
	require.Equal(t, "alice", p.Subject)
}
