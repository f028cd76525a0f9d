package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/services/api"
)

const (
	issuer   = "https://idp.example"
	audience = "prefs"
)

// provider is an identity provider; what it answers can change.
type provider struct {
	*httptest.Server

	keys atomic.Pointer[[]byte] // nil: it is away
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if set := p.keys.Load(); set != nil {
			_, _ = w.Write(*set)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(p.Close)
	return p
}

// publish makes these the keys, by their ids.
func (p *provider) publish(t *testing.T, keys map[string]*rsa.PrivateKey) {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	set := []map[string]string{}
	for id, k := range keys {
		set = append(set, map[string]string{"kty": "RSA", "kid": id, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())})
	}
	text, err := json.Marshal(map[string]any{"keys": set})
	require.NoError(t, err)
	p.keys.Store(&text)
}

// trusting is the same world, believing the provider; with how long after an
// unknown key others are looked for.
func (w *world) trusting(p *provider, again time.Duration) *world {
	w.Helper()
	v, err := auth.NewVerifier(auth.Config{Issuer: issuer, Audience: audience, JWKSURL: p.URL, UnknownEvery: again}, slog.New(slog.DiscardHandler))
	require.NoError(w, err)
	other := *w
	other.url = serve(w.T, api.New(api.Options{Preferences: w.prefs, Verifier: v, Log: slog.New(slog.NewJSONHandler(w.logs, nil)), Timeout: 10 * time.Second}))
	return &other
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return k
}

// sealed signs good claims with changes; nil removes a claim or a header.
func sealed(t *testing.T, method jwt.SigningMethod, private any, header, changes map[string]any) string {
	t.Helper()
	now := time.Now()
	claims := jwt.MapClaims{"sub": "alice", "iss": issuer, "aud": audience, "exp": now.Add(time.Minute).Unix(), "nbf": now.Add(-time.Second).Unix()}
	tok := jwt.NewWithClaims(method, claims)
	tok.Header["kid"] = "one"
	for into, from := range map[*map[string]any]map[string]any{(*map[string]any)(&claims): changes, &tok.Header: header} {
		for name, value := range from {
			if value == nil {
				delete(*into, name)
				continue
			}
			(*into)[name] = value
		}
	}
	signed, err := tok.SignedString(private)
	require.NoError(t, err)
	return signed
}

// TestTokensOfAProvider: each known way to pass off a token is refused at the
// door, with one and the same answer, and nothing changes. pkg/auth knows more of
// them, and what is remembered between two requests.
func TestTokensOfAProvider(t *testing.T) {
	w := begin(t)
	good, other := rsaKey(t), rsaKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(good.Public())
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	p := newProvider(t)
	p.publish(t, map[string]*rsa.PrivateKey{"one": good})
	l := w.trusting(p, time.Hour)
	rs := func(header, claims map[string]any) string {
		return sealed(t, jwt.SigningMethodRS256, good, header, claims)
	}
	now := time.Now()
	for name, x := range map[string]struct {
		token string
		good  bool
	}{
		"good":                  {rs(nil, nil), true},
		"alg none":              {sealed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil), false},
		"HS256 with public key": {sealed(t, jwt.SigningMethodHS256, public, nil, nil), false},
		"wrong key":             {sealed(t, jwt.SigningMethodRS256, other, nil, nil), false},
		"ES256":                 {sealed(t, jwt.SigningMethodES256, curve, nil, nil), false},
		"RS512":                 {sealed(t, jwt.SigningMethodRS512, good, nil, nil), false},
		"no exp":                {rs(nil, map[string]any{"exp": nil}), false},
		"expired 10 s ago":      {rs(nil, map[string]any{"exp": now.Add(-10 * time.Second).Unix()}), true},
		"expired a minute ago":  {rs(nil, map[string]any{"exp": now.Add(-time.Minute).Unix()}), false},
		"nbf in 10 s":           {rs(nil, map[string]any{"nbf": now.Add(10 * time.Second).Unix()}), true},
		"nbf in 2 minutes":      {rs(nil, map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), false},
		"wrong aud":             {rs(nil, map[string]any{"aud": "other"}), false},
		"no aud":                {rs(nil, map[string]any{"aud": nil}), false},
		"wrong iss":             {rs(nil, map[string]any{"iss": "https://evil"}), false},
		"no sub":                {rs(nil, map[string]any{"sub": nil}), false},
		"empty sub":             {rs(nil, map[string]any{"sub": ""}), false},
		"sub a number":          {rs(nil, map[string]any{"sub": 7}), false},
		"iat in the future":     {rs(nil, map[string]any{"iat": now.Add(time.Hour).Unix()}), false},
		"keys named by token":   {sealed(t, jwt.SigningMethodRS256, other, map[string]any{"jku": p.URL, "kid": "../../etc/passwd"}, nil), false},
		"unknown crit":          {rs(map[string]any{"crit": []string{"exp2"}}, nil), false},
		"exp 1e300":             {rs(nil, map[string]any{"exp": 1e300}), false},
		"kind of another token": {rs(map[string]any{"typ": "logout+jwt"}, nil), false},
		"20 KiB of claims":      {rs(nil, map[string]any{"more": strings.Repeat("x", 20<<10)}), false},
	} {
		t.Run(name, func(t *testing.T) {
			c := caller{l.in(t), x.token}
			for range 2 { // the second answer comes from what was remembered of the first
				if x.good {
					require.Empty(t, c.read().Preferences)
					continue
				}
				w.in(t).unchanged(func() { c.replace(body("z")).refused() })
			}
		})
	}
}

// TestKeysRotateAndProvidersFail: a new key is found as soon as it is used, an old
// one is forgotten with it, and while the provider is away, those who are known
// get in and about others nobody can say.
func TestKeysRotateAndProvidersFail(t *testing.T) {
	w := begin(t)
	first, second, third := rsaKey(t), rsaKey(t), rsaKey(t)
	p := newProvider(t)
	l := w.trusting(p, time.Nanosecond)
	as := func(id string, k *rsa.PrivateKey) caller {
		return caller{l, sealed(t, jwt.SigningMethodRS256, k, map[string]any{"kid": id}, nil)}
	}
	old, fresh, unknown := as("one", first), as("two", second), as("three", third)
	away := old.send(http.MethodGet, accounts, "")
	away.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.Equal(t, "2", away.Header.Get("Retry-After"))

	p.publish(t, map[string]*rsa.PrivateKey{"one": first})
	require.Eventually(t, func() bool { return old.send(http.MethodGet, accounts, "").StatusCode == http.StatusOK }, patience, 50*time.Millisecond)
	fresh.send(http.MethodGet, accounts, "").refused()

	p.publish(t, map[string]*rsa.PrivateKey{"two": second})
	fresh.send(http.MethodGet, accounts, "").is(http.StatusOK)
	old.send(http.MethodGet, accounts, "").refused()

	p.keys.Store(nil)
	fresh.send(http.MethodGet, accounts, "").is(http.StatusOK)
	unknown.send(http.MethodGet, accounts, "").fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.NotContains(t, w.logs.String(), fresh.token)
}

// TestHeadersThatAreTooMuch: what is too large or stands there twice is refused
// or has one meaning, never the one that suits the sender.
func TestHeadersThatAreTooMuch(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	tag := alice.save("a").ETag
	w.unchanged(func() {
		alice.send(http.MethodGet, accounts, "", "Authorization", "Bearer "+strings.Repeat("x", 20<<10)).refused()
		alice.send(http.MethodGet, accounts, "", "Authorization", "Bearer "+strings.Repeat("x", 33<<10)).fails(http.StatusRequestHeaderFieldsTooLarge, "HEADERS_TOO_LARGE")
		alice.send(http.MethodGet, accounts, "", "Authorization", "Bearer "+alice.token, "Authorization", "Bearer "+w.as("bob").token).refused()
		alice.send(http.MethodGet, accounts, "", "Authorization", "Bearer "+alice.token+", Bearer "+alice.token).refused()
		alice.replace(body("z"), "Content-Type", "application/json", "Content-Type", "text/plain").fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		alice.replace(body("z"), "Content-Encoding", "identity", "Content-Encoding", "gzip").fails(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
		alice.replace(body("z"), "If-Match", `"x"`, "If-Match", `"y"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		alice.replace(body("z"), "If-Match", "*", "If-Match", `"`+tag+`"`).fails(http.StatusBadRequest, "MALFORMED_PRECONDITION", "If-Match")
		alice.replace(body("z"), "If-Match", strings.Repeat(`"x", `, 6000)+`"y"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
	})
	alice.replace(body("z"), "If-Match", strings.Repeat(`"x", `, 3000), "If-Match", `"`+tag+`"`).is(http.StatusOK)
}
