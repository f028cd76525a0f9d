package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// minRSA is the shortest RSA key that RS256 may be used with (RFC 7518).
const minRSA = 2048

// maxKeys bounds how many signatures a token without a key id can cost.
const maxKeys = 32

var errUnknownKey = errors.New("no key with this id and algorithm")

// keySet is one state of the trusted keys. It never changes, and the tokens that
// its keys have verified live and die with it: a token cannot outlast its key.
type keySet struct {
	keys     []verificationKey
	verified *tokenCache
}

type verificationKey struct {
	id        string
	algorithm string
	key       crypto.PublicKey
}

// find is a jwt.Keyfunc. The algorithm is that of the key, never the token's
// choice; a token without a key id is tried against all keys of its algorithm.
func (s *keySet) find(token *jwt.Token) (any, error) {
	id, named := token.Header["kid"]
	var fitting []jwt.VerificationKey
	for _, k := range s.keys {
		if k.algorithm == token.Method.Alg() && (!named || id == k.id) {
			fitting = append(fitting, k.key)
		}
	}
	if len(fitting) == 0 {
		return nil, errUnknownKey
	}
	return jwt.VerificationKeySet{Keys: fitting}, nil
}

// parseKeys reads a JSON Web Key Set. Keys that cannot verify our tokens are left
// out: providers publish encryption keys and new algorithms beside them.
func parseKeys(ctx context.Context, set []byte) ([]verificationKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &document); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	var keys []verificationKey
	for _, raw := range document.Keys {
		if k, ok := parseKey(ctx, raw); ok && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("read key set: none of its %d keys is for RS256, ES256 or EdDSA", len(document.Keys))
	}
	return keys, nil
}

func parseKey(ctx context.Context, raw []byte) (verificationKey, bool) {
	about, key, ok := parseJWK(ctx, raw)
	if !ok {
		return verificationKey{}, false
	}
	key = public(key)
	algorithm := algorithmOf(key)
	switch {
	case algorithm == "",
		about.Use != "" && about.Use != "sig",
		about.Algorithm != "" && about.Algorithm != algorithm:
		return verificationKey{}, false
	}
	return verificationKey{id: about.ID, algorithm: algorithm, key: key}, true
}

// jwkMetadata is what a JSON Web Key says besides the key itself.
type jwkMetadata struct{ ID, Algorithm, Use string }

func parseJWK(ctx context.Context, raw []byte) (jwkMetadata, any, bool) {
	parsed, err := keyfunc.NewJWKJSON(raw)
	if err != nil {
		return jwkMetadata{}, nil, false
	}
	all, err := parsed.Storage().KeyReadAll(ctx)
	if err != nil || len(all) != 1 {
		return jwkMetadata{}, nil, false
	}
	m := all[0].Marshal()
	return jwkMetadata{ID: m.KID, Algorithm: m.ALG.String(), Use: m.USE.String()}, all[0].Key(), true
}

// public makes sure that no private key is kept to verify with.
func public(key any) crypto.PublicKey {
	if private, ok := key.(interface{ Public() crypto.PublicKey }); ok {
		return private.Public()
	}
	return key
}

// algorithmOf returns the one algorithm that a key may be used with, or nothing.
func algorithmOf(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return jwt.SigningMethodRS256.Alg()
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jwt.SigningMethodES256.Alg()
		}
	case ed25519.PublicKey:
		return jwt.SigningMethodEdDSA.Alg()
	}
	return ""
}
