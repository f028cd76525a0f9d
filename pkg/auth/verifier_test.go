package auth_test

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

func allKeys() []byte {
	k := keyring()
	return keySet(
		k["rsa"].jwk(map[string]any{"use": "sig", "alg": "RS256"}), k["ec"].jwk(nil), k["ed"].jwk(map[string]any{"alg": "EdDSA"}),
		k["p384"].jwk(nil), k["short rsa"].jwk(nil),
		map[string]any{"kty": "oct", "kid": "shared", "k": b64([]byte("a symmetric key that must not be used"))},
		map[string]any{"kty": "??", "kid": "new"},
		k["next"].jwk(map[string]any{"kid": "encryption", "use": "enc"}),
	)
}

func TestGoodTokensNameTheirPrincipal(t *testing.T) {
	t.Parallel()
	k := keyring()
	ed := k["ed"]
	v := newVerifier(t, &provider{body: allKeys()}, nil)
	now := time.Now()
	for name, token := range map[string]string{
		"RS256":                   k["rsa"].sign(t, with(nil), nil),
		"ES256":                   k["ec"].sign(t, with(nil), nil),
		"EdDSA":                   ed.sign(t, with(nil), nil),
		"no key id":               k["ec"].sign(t, with(nil), map[string]any{"kid": nil}),
		"no typ":                  ed.sign(t, with(nil), map[string]any{"typ": nil}),
		"access token":            ed.sign(t, with(nil), map[string]any{"typ": "at+jwt"}),
		"access token, long form": ed.sign(t, with(nil), map[string]any{"typ": "application/AT+JWT"}),
		"expired within leeway":   ed.sign(t, with(map[string]any{"exp": now.Add(-10 * time.Second).Unix()}), nil),
		"not yet within leeway":   ed.sign(t, with(map[string]any{"nbf": now.Add(10 * time.Second).Unix()}), nil),
		"issued within leeway":    ed.sign(t, with(map[string]any{"iat": now.Add(10 * time.Second).Unix()}), nil),
		"fraction of a second":    ed.sign(t, with(map[string]any{"exp": float64(now.Unix()) + 60.5}), nil),
		"one of many audiences":   ed.sign(t, with(map[string]any{"aud": []string{"x", audience}}), nil),
		"absent by null":          ed.sign(t, with(map[string]any{"nbf": jwt.NewNumericDate(now), "scope": jwt.ClaimStrings(nil)}), nil),
		"unknown claims":          ed.sign(t, with(map[string]any{"realm": map[string]any{"roles": []string{"a"}}}), nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the second answer comes from memory
				p, err := v.Verify(t.Context(), token)
				require.NoError(t, err)
				require.Equal(t, "alice", p.Subject)
				require.Empty(t, p.Scopes.Names())
				require.False(t, p.Has(auth.ScopeSystem))
			}
		})
	}
}

// badTokens are refused; the message says why.
func badTokens(tb testing.TB) map[string][2]string {
	tb.Helper()
	k := keyring()
	ed, now := k["ed"], time.Now()
	der, err := x509.MarshalPKIXPublicKey(k["rsa"].private.Public())
	require.NoError(tb, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	signed := func(method jwt.SigningMethod, key any, kid string) string {
		token := jwt.NewWithClaims(method, with(nil))
		token.Header["kid"] = kid
		s, err := token.SignedString(key)
		require.NoError(tb, err)
		return s
	}
	claims := func(changes map[string]any) string { return ed.sign(tb, with(changes), nil) }
	header := func(changes map[string]any) string { return ed.sign(tb, with(nil), changes) }
	good := ed.sign(tb, with(nil), nil)
	const (
		untrusted, malformed = "The token is not signed by a trusted key.", "The token is not a well-formed JWT."
		lacks, subject       = "The token lacks exp, iss or aud.", "The token names no usable subject."
		invalid, wrongType   = "The token is not valid.", "The token is not an access token."
		critical             = "The token has critical extensions that are not understood."
		exp, edHeader        = `,"exp":33000000000,"iss":"https://idp.example","aud":"prefs"}`, `{"alg":"EdDSA","kid":"ed"}`
	)
	return map[string][2]string{
		"nothing":                   {"", "Send a bearer token."},
		"one word":                  {"secret", malformed},
		"two parts":                 {"e30.e30", malformed},
		"four parts":                {good + ".x", malformed},
		"padding":                   {good + "=", malformed},
		"trailing blank":            {good + " ", malformed},
		"header is no JSON":         {b64([]byte("x")) + ".e30.e30", malformed},
		"payload is no JSON":        {ed.signRaw(tb, edHeader, "x"), malformed},
		"payload is a list":         {ed.signRaw(tb, edHeader, "[]"), malformed},
		"payload is null":           {ed.signRaw(tb, edHeader, "null"), lacks},
		"no algorithm":              {ed.signRaw(tb, `{"kid":"ed"}`, "{}"), invalid},
		"alg none":                  {signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "ed"), untrusted},
		"alg None":                  {ed.signRaw(tb, `{"alg":"None","kid":"ed"}`, "{}"), invalid},
		"HS256 with the public key": {signed(jwt.SigningMethodHS256, publicPEM, "rsa"), untrusted},
		"HS256 with a shared key":   {signed(jwt.SigningMethodHS256, []byte("a symmetric key that must not be used"), "shared"), untrusted},
		"PS256 with an RSA key":     {signed(jwt.SigningMethodPS256, k["rsa"].private, "rsa"), untrusted},
		"RS512 with an RSA key":     {signed(jwt.SigningMethodRS512, k["rsa"].private, "rsa"), untrusted},
		"RSA key too short":         {k["short rsa"].sign(tb, with(nil), nil), untrusted},
		"ES384":                     {k["p384"].sign(tb, with(nil), nil), untrusted},
		"wrong key":                 {k["unknown"].sign(tb, with(nil), map[string]any{"kid": "ed"}), untrusted},
		"wrong key, no id":          {k["unknown"].sign(tb, with(nil), map[string]any{"kid": nil}), untrusted},
		"unknown key":               {k["unknown"].sign(tb, with(nil), nil), untrusted},
		"ES256 by id of RSA key":    {k["ec"].sign(tb, with(nil), map[string]any{"kid": "rsa"}), untrusted},
		"RS256 by id of EC key":     {k["rsa"].sign(tb, with(nil), map[string]any{"kid": "ec"}), untrusted},
		"encryption key":            {k["next"].sign(tb, with(nil), map[string]any{"kid": "encryption"}), untrusted},
		"key id is a path":          {header(map[string]any{"kid": "../../etc/passwd"}), untrusted},
		"key id is SQL":             {header(map[string]any{"kid": "' or 1=1 --"}), untrusted},
		"key id is a number":        {header(map[string]any{"kid": 7}), untrusted},
		"key id is null":            {ed.signRaw(tb, `{"alg":"EdDSA","kid":null}`, "{}"), untrusted},
		"key id of a megabyte":      {header(map[string]any{"kid": strings.Repeat("k", 1<<20)}), "The token is too long."},
		"keys from the token":       {k["unknown"].sign(tb, with(nil), map[string]any{"jku": "http://evil/keys", "jwk": k["unknown"].jwk(nil)}), untrusted},
		"changed payload":           {strings.Split(good, ".")[0] + "." + strings.Split(claims(map[string]any{"sub": "bob"}), ".")[1] + "." + strings.Split(good, ".")[2], untrusted},
		"critical extension":        {header(map[string]any{"crit": []string{"exp2"}}), critical},
		"critical, known name":      {header(map[string]any{"crit": []string{"exp"}}), critical},
		"critical, empty":           {header(map[string]any{"crit": []string{}}), critical},
		"logout token":              {header(map[string]any{"typ": "logout+jwt"}), wrongType},
		"type is a number":          {header(map[string]any{"typ": 1}), wrongType},
		"no expiry":                 {claims(map[string]any{"exp": nil}), lacks},
		"expired":                   {claims(map[string]any{"exp": now.Add(-time.Minute).Unix()}), "The token has expired."},
		"expired long ago":          {claims(map[string]any{"exp": 1}), "The token has expired."},
		"expiry is 1e300":           {claims(map[string]any{"exp": 1e300}), invalid},
		"expiry is negative":        {claims(map[string]any{"exp": -1e300}), invalid},
		"expiry is a string":        {claims(map[string]any{"exp": "2999-01-01"}), malformed},
		"expiry is null":            {ed.signRaw(tb, edHeader, `{"sub":"alice","exp":null,"iss":"https://idp.example","aud":"prefs"}`), lacks},
		"not yet":                   {claims(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), "The token is not valid yet."},
		"issued in the future":      {claims(map[string]any{"iat": now.Add(time.Hour).Unix()}), "The token was issued in the future."},
		"issued at a string":        {claims(map[string]any{"iat": "now"}), malformed},
		"wrong audience":            {claims(map[string]any{"aud": "other"}), "The token is not meant for this service."},
		"audience contains ours":    {claims(map[string]any{"aud": "prefs.evil"}), "The token is not meant for this service."},
		"no audience":               {claims(map[string]any{"aud": nil}), lacks},
		"empty audience":            {claims(map[string]any{"aud": []string{}}), lacks},
		"audience is a number":      {claims(map[string]any{"aud": 7}), malformed},
		"wrong issuer":              {claims(map[string]any{"iss": "https://evil"}), "The token comes from an issuer that is not trusted."},
		"issuer with a slash":       {claims(map[string]any{"iss": issuer + "/"}), "The token comes from an issuer that is not trusted."},
		"no issuer":                 {claims(map[string]any{"iss": nil}), lacks},
		"no subject":                {claims(map[string]any{"sub": nil}), subject},
		"empty subject":             {claims(map[string]any{"sub": ""}), subject},
		"subject is a number":       {claims(map[string]any{"sub": 7}), malformed},
		"subject too long":          {claims(map[string]any{"sub": strings.Repeat("é", 128)}), subject},
		"subject with newline":      {claims(map[string]any{"sub": "alice\nadmin"}), subject},
		"subject with C1 control":   {claims(map[string]any{"sub": "alice\u0085"}), subject},
		"subject with NUL":          {claims(map[string]any{"sub": "alice\x00"}), malformed},
		"subject is no UTF-8":       {ed.signRaw(tb, edHeader, "{\"sub\":\"alice\xff\""+exp), malformed},
		"subject with surrogate":    {ed.signRaw(tb, edHeader, `{"sub":"alice\ud800"`+exp), malformed},
		"subject twice":             {ed.signRaw(tb, edHeader, `{"sub":"alice","sub":"bob"`+exp), malformed},
		"SUBJECT":                   {ed.signRaw(tb, edHeader, `{"SUB":"alice"`+exp), subject},
		"scope is a list":           {claims(map[string]any{"scope": []string{"preferences.admin"}}), malformed},
		"scp is a number":           {claims(map[string]any{"scp": 1}), malformed},
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, &provider{body: allKeys()}, nil)
	for name, c := range badTokens(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				p, err := v.Verify(t.Context(), c[0])
				require.Equal(t, fault.Unauthenticated, fault.CodeOf(err), "%v", err)
				require.Equal(t, auth.ReasonInvalidToken, fault.ReasonOf(err))
				require.Equal(t, auth.Principal{}, p, "nothing of a refused token is read")
				var f *fault.Error
				require.ErrorAs(t, err, &f)
				require.Equal(t, c[1], f.Message)
				require.Empty(t, f.Details)
				require.Empty(t, f.Violations)
				if len(c[0]) > 10 {
					require.NotContains(t, err.Error(), c[0][:10])
				}
				require.NotContains(t, err.Error(), "alice")
			}
		})
	}
}

func TestScopesComeInEveryForm(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, &provider{body: allKeys()}, nil)
	for name, c := range map[string]struct {
		claims map[string]any
		want   []string
		system bool
		admin  bool
	}{
		"none":         {want: []string{}},
		"scope":        {claims: map[string]any{"scope": "openid  preferences.system"}, want: []string{"openid", "preferences.system"}, system: true},
		"scp list":     {claims: map[string]any{"scp": []string{"preferences.system", "a b"}}, want: []string{"a", "b", "preferences.system"}, system: true},
		"scp string":   {claims: map[string]any{"scp": "preferences.system a"}, want: []string{"a", "preferences.system"}, system: true},
		"both":         {claims: map[string]any{"scope": "a", "scp": []string{"a", "b"}}, want: []string{"a", "b"}},
		"admin":        {claims: map[string]any{"scope": "preferences.admin"}, want: []string{"preferences.admin"}, system: true, admin: true},
		"a mere part":  {claims: map[string]any{"scope": "preferences.administrator xpreferences.system"}, want: []string{"preferences.administrator", "xpreferences.system"}},
		"another case": {claims: map[string]any{"scope": "Preferences.Admin"}, want: []string{"Preferences.Admin"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := v.Verify(t.Context(), keyring()["ed"].sign(t, with(c.claims), nil))
			require.NoError(t, err)
			require.Equal(t, c.want, p.Scopes.Names())
			require.Equal(t, c.system, p.Has(auth.ScopeSystem))
			require.Equal(t, c.admin, p.Has(auth.ScopeAdmin))
		})
	}
}

func TestConfigurationMustNameWhomToTrust(t *testing.T) {
	t.Parallel()
	key, err := auth.NewDevKey()
	require.NoError(t, err)
	for name, cfg := range map[string]auth.Config{
		"no issuer":    {Audience: audience, DevKey: key},
		"no audience":  {Issuer: issuer, DevKey: key},
		"no keys":      {Issuer: issuer, Audience: audience},
		"both":         {Issuer: issuer, Audience: audience, DevKey: key, JWKSURL: "https://idp/keys"},
		"relative URL": {Issuer: issuer, Audience: audience, JWKSURL: "/keys"},
		"other scheme": {Issuer: issuer, Audience: audience, JWKSURL: "file:///etc/keys"},
		"no URL":       {Issuer: issuer, Audience: audience, JWKSURL: "https://a b/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := auth.NewVerifier(cfg, slog.New(slog.DiscardHandler))
			require.Error(t, err)
		})
	}
}

// FuzzVerify changes good tokens: whatever comes out, only the original passes.
func FuzzVerify(f *testing.F) {
	v := newVerifier(f, &provider{body: allKeys()}, func(c *auth.Config) { c.UnknownEvery = time.Hour })
	good := keyring()["ed"].sign(f, with(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}), nil)
	f.Add(good)
	for _, c := range badTokens(f) {
		if len(c[0]) < 1000 {
			f.Add(c[0])
		}
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(t.Context(), token)
		switch {
		case err == nil && token != good:
			t.Fatalf("%q passes as %q", token, p.Subject)
		case err != nil && token == good:
			t.Fatal(err)
		case err != nil && fault.CodeOf(err) != fault.Unauthenticated && fault.CodeOf(err) != fault.Unavailable:
			t.Fatalf("%q: %v", token, err)
		}
	})
}
