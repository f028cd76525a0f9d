package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults of Config.
const (
	DefaultLeeway       = 30 * time.Second
	DefaultCacheSize    = 10_000
	DefaultRefreshEvery = 5 * time.Minute
	DefaultRetryEvery   = 5 * time.Second
	DefaultUnknownEvery = 30 * time.Second
	DefaultMaxStale     = 24 * time.Hour
)

// maxToken bounds what is decoded before anything about it is known.
const maxToken = 16 << 10

// Config says whom to trust. Issuer, Audience and one of JWKSURL and DevKey are
// needed; zero values of the rest mean the defaults.
type Config struct {
	Issuer   string
	Audience string
	// JWKSURL is where the provider publishes its keys.
	JWKSURL string
	// DevKey is the only trusted key where there is no provider.
	DevKey *DevKey
	// Leeway is how far clocks may differ.
	Leeway time.Duration
	// CacheSize is how many verified tokens are remembered; less than 0 is none.
	CacheSize int
	// RefreshEvery is how often keys are fetched, RetryEvery how soon after a
	// failure, UnknownEvery how often at most because of a key that is not known.
	RefreshEvery, RetryEvery, UnknownEvery time.Duration
	// MaxStale is how long keys are trusted that could not be fetched again.
	MaxStale time.Duration
	// Client fetches the keys; nil means one with short timeouts that follows no
	// redirect.
	Client *http.Client
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Issuer == "" || c.Audience == "":
		return c, errors.New("auth: an issuer and an audience are required")
	case (c.JWKSURL == "") == (c.DevKey == nil):
		return c, errors.New("auth: either the URL of a key set or a development key is required")
	}
	setDefault(&c.Leeway, DefaultLeeway)
	setDefault(&c.CacheSize, DefaultCacheSize)
	setDefault(&c.RefreshEvery, DefaultRefreshEvery)
	setDefault(&c.RetryEvery, DefaultRetryEvery)
	setDefault(&c.UnknownEvery, DefaultUnknownEvery)
	setDefault(&c.MaxStale, DefaultMaxStale)
	if c.Client == nil {
		c.Client = keyClient()
	}
	return c, nil
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// source gives the trusted keys.
type source interface {
	// current returns the keys to try first.
	current(ctx context.Context) (*keySet, error)
	// newer returns other keys than those seen, or errUnknownKey.
	newer(ctx context.Context, seen *keySet) (*keySet, error)
	run(ctx context.Context) error
	ready() error
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	parser    *jwt.Parser
	validator *jwt.Validator
	source    source
	issuer    string
	audience  string
}

// NewVerifier returns a verifier. It fetches nothing, so that a service starts
// while its provider is away; Run does.
func NewVerifier(cfg Config, log *slog.Logger) (*Verifier, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v := &Verifier{issuer: cfg.Issuer, audience: cfg.Audience}
	if cfg.DevKey != nil {
		v.source = fixed{&keySet{keys: []verificationKey{cfg.DevKey.verificationKey()}, verified: newTokenCache(cfg.CacheSize)}}
	} else if v.source, err = newRemote(cfg, log); err != nil {
		return nil, err
	}
	checks := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithLeeway(cfg.Leeway),
		jwt.WithStrictDecoding(),
	}
	v.parser, v.validator = jwt.NewParser(checks...), jwt.NewValidator(checks...)
	return v, nil
}

// Run keeps the keys fresh until the context ends.
func (v *Verifier) Run(ctx context.Context) error { return v.source.run(ctx) }

// Ready reports why no token could be verified now.
func (v *Verifier) Ready(context.Context) error { return v.source.ready() }

// verifiedToken is what is remembered of a token whose signature held.
type verifiedToken struct {
	principal Principal
	lifetime  *claims
}

// Verify returns the principal of a token. The error is a fault: Unauthenticated
// if the token is not valid, Unavailable if its key cannot be had now.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	switch {
	case token == "":
		return Principal{}, refuse(nil, "Send a bearer token.")
	case len(token) > maxToken:
		return Principal{}, refuse(nil, "The token is too long.")
	}
	keys, err := v.source.current(ctx)
	if err != nil {
		return Principal{}, err
	}
	hash := digest(sha256.Sum256([]byte(token)))
	if known, ok := keys.verified.get(hash); ok {
		// The signature cannot have changed, but time has.
		if err := v.validator.Validate(known.lifetime); err != nil {
			keys.verified.drop(hash)
			return Principal{}, explain(err)
		}
		return known.principal, nil
	}
	verified, err := v.parse(token, keys)
	if errors.Is(err, errUnknownKey) {
		if keys, err = v.source.newer(ctx, keys); err == nil {
			verified, err = v.parse(token, keys)
		}
	}
	if err != nil {
		return Principal{}, explain(err)
	}
	keys.verified.put(hash, verified)
	return verified.principal, nil
}

// parse verifies the signature and everything else. It returns nothing of a
// token that fails: the library fills in the claims of those too.
func (v *Verifier) parse(token string, keys *keySet) (*verifiedToken, error) {
	read := &claims{}
	_, err := v.parser.ParseWithClaims(token, read, func(t *jwt.Token) (any, error) {
		if err := checkHeader(t.Header); err != nil {
			return nil, err
		}
		return keys.find(t)
	})
	if err != nil {
		return nil, err
	}
	p := read.principal()
	return &verifiedToken{principal: p, lifetime: &claims{
		Issuer: v.issuer, Audience: jwt.ClaimStrings{v.audience}, Subject: p.Subject,
		Expires: read.Expires, NotBefore: read.NotBefore, IssuedAt: read.IssuedAt,
	}}, nil
}

var (
	errCritical = errors.New("crit asks for extensions that are not understood")
	errType     = errors.New("typ says that this is no access token")
)

// checkHeader does what the library leaves out: RFC 7515 section 4.1.11, and the
// explicit types of RFC 8725 section 3.11, so that no other kind of JWT from the
// same provider passes for an access token.
func checkHeader(header map[string]any) error {
	if _, ok := header["crit"]; ok {
		return errCritical
	}
	typ, ok := header["typ"]
	if !ok {
		return nil
	}
	name, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(name), "application/") {
	case "jwt", "at+jwt":
		return nil
	default:
		return errType
	}
}
