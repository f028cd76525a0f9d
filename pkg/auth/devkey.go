package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer, audience and lifetime of tokens that a development key signs, unless
// the grant says otherwise.
const (
	DevIssuer   = "prefsd-dev"
	DevAudience = "prefsd"
	DevLifetime = 12 * time.Hour
)

// DevKey signs tokens where there is no identity provider. Whoever has it is
// everybody: it belongs on a developer's machine and in tests.
type DevKey struct {
	id      string
	private ed25519.PrivateKey
}

// NewDevKey returns a new key.
func NewDevKey() (*DevKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a development key: %w", err)
	}
	return devKeyOf(private)
}

func devKeyOf(private ed25519.PrivateKey) (*DevKey, error) {
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("a development key must be an Ed25519 key")
	}
	sum := sha256.Sum256(public)
	return &DevKey{id: "dev-" + base64.RawURLEncoding.EncodeToString(sum[:9]), private: private}, nil
}

// LoadDevKey reads a private Ed25519 key from a PEM (PKCS #8) or a JWK file.
func LoadDevKey(path string) (*DevKey, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("load the development key: %w", err)
	}
	private, err := parsePrivate(content)
	if err != nil {
		return nil, fmt.Errorf("load the development key from %s: %w", path, err)
	}
	return devKeyOf(private)
}

var errNoDevKey = errors.New("it holds no private Ed25519 key in PEM or JWK form")

// parsePrivate says nothing about the content that it cannot read: it is secret.
func parsePrivate(content []byte) (ed25519.PrivateKey, error) {
	var key any
	if block, _ := pem.Decode(content); block != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errNoDevKey
		}
		key = parsed
	} else if _, parsed, ok := parseJWK(context.Background(), content); ok {
		key = parsed
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errNoDevKey
	}
	return private, nil
}

// EnsureDevKey loads the key of a path, or makes one and saves it there for its
// owner alone.
func EnsureDevKey(path string) (*DevKey, error) {
	key, err := LoadDevKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewDevKey(); err != nil {
		return nil, err
	}
	return key, key.Save(path)
}

// Save writes the key to a new file that only its owner can read.
func (k *DevKey) Save(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return fmt.Errorf("save the development key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save the development key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("save the development key: %w", err)
	}
	err = errors.Join(pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), file.Close())
	if err != nil {
		return fmt.Errorf("save the development key: %w", err)
	}
	return nil
}

// Grant is what a signed token says.
type Grant struct {
	Subject  string
	Scopes   []string
	Issuer   string
	Audience string
	Lifetime time.Duration
	Issued   time.Time // default: now
}

// Sign returns a token for the grant, valid from when it is issued.
func (k *DevKey) Sign(g Grant) (string, error) {
	if err := CheckSubject(g.Subject); err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	setDefault(&g.Issuer, DevIssuer)
	setDefault(&g.Audience, DevAudience)
	setDefault(&g.Lifetime, DevLifetime)
	if g.Issued.IsZero() {
		g.Issued = time.Now()
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": g.Issuer, "aud": g.Audience, "sub": g.Subject, "scope": strings.Join(g.Scopes, " "),
		"iat": g.Issued.Unix(), "exp": g.Issued.Add(g.Lifetime).Unix(),
	})
	token.Header["kid"] = k.id
	signed, err := token.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed, nil
}

// JWKS is the public half as a key set, for services that want a URL.
func (k *DevKey) JWKS() ([]byte, error) {
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": jwt.SigningMethodEdDSA.Alg(), "kid": k.id,
		"x": base64.RawURLEncoding.EncodeToString(k.public()),
	}}})
	if err != nil {
		return nil, fmt.Errorf("write a key set: %w", err)
	}
	return set, nil
}

func (k *DevKey) public() ed25519.PublicKey {
	public, _ := k.private.Public().(ed25519.PublicKey)
	return public
}

func (k *DevKey) verificationKey() verificationKey {
	return verificationKey{id: k.id, algorithm: jwt.SigningMethodEdDSA.Alg(), key: k.public()}
}
