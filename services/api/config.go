package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/httpd"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// Health says where the API is watched.
type Health struct {
	AdminAddr string `name:"admin-addr" default:"127.0.0.1:9090" help:"Where health and metrics are; it must not be reachable from outside."`
}

// HealthAddr is AdminAddr.
func (h Health) HealthAddr() string { return h.AdminAddr }

// Config is everything that the API can be told.
type Config struct {
	HTTPAddr string `name:"http-addr" default:":8080" help:"Where the API listens."`
	Health

	Auth            Auth              `embed:"" prefix:"auth-"`
	Limits          Limits            `embed:""`
	Browsers        Browsers          `embed:""`
	RequireIfMatch  config.Switch     `name:"require-if-match" default:"off" help:"Whether every write must carry a precondition: on or off."`
	RequestTimeout  time.Duration     `name:"request-timeout" default:"10s" help:"How long the work on one request may take."`
	ShutdownDelay   time.Duration     `name:"shutdown-delay" default:"0s" help:"How long to serve on, not ready any more, when told to stop: the time that load balancers need to notice."`
	ShutdownTimeout time.Duration     `name:"shutdown-timeout" default:"15s" help:"How long requests in hand may take to finish at a stop."`
	Deployment      config.Deployment `embed:""`
	Database        config.Database   `embed:""`
	ListCache       int               `name:"list-cache" default:"16" help:"MiB of memory for the lists that were used last, so that their rows are not read again; 0: none."`
	ReplicaURL      config.Secret     `name:"database-replica-url" help:"Connection string of a read replica; it may answer reads that name a version which it has reached."`
	Kafka           config.Kafka      `embed:""`
	Topics          config.Topics     `embed:""`
	Relay           config.Relay      `embed:""`
	Directory       config.Directory  `embed:"" prefix:"directory-"`
	config.Log

	// Version is that of the binary.
	Version string `kong:"-"`
	// Listener and AdminListener are used instead of the addresses by those who
	// have them already.
	Listener      net.Listener `kong:"-"`
	AdminListener net.Listener `kong:"-"`
}

// Auth says whose tokens are trusted.
type Auth struct {
	Issuer     string `name:"issuer" help:"Issuer that tokens must name (iss)."`
	Audience   string `name:"audience" help:"Audience that tokens must name (aud)."`
	JWKSURL    string `name:"jwks-url" help:"Where the issuer publishes its keys."`
	DevKeyFile string `name:"dev-key-file" type:"path" help:"Private key whose tokens are trusted instead; for development only."`
}

// Validate refuses to trust nobody, or two at once.
func (a Auth) Validate() error {
	switch {
	case (a.JWKSURL == "") == (a.DevKeyFile == ""):
		return errors.New("either --auth-jwks-url or --auth-dev-key-file must be given")
	case a.JWKSURL != "" && (a.Issuer == "" || a.Audience == ""):
		return errors.New("--auth-issuer and --auth-audience must be given with --auth-jwks-url")
	default:
		return nil
	}
}

// maxListCache is in MiB, and half of the memory in which the heap may grow
// freely (pkg/command): what is live beyond that is collected again and again.
const maxListCache = 128

// Validate refuses times that are no times, and memory that nobody has.
func (c Config) Validate() error {
	switch {
	case c.RequestTimeout <= 0:
		return fmt.Errorf("--request-timeout must be more than 0, not %s", c.RequestTimeout)
	case c.RequestTimeout > writeTimeout-readTimeout:
		return fmt.Errorf("--request-timeout must be at most %s, not %s: the server would close the connection before the answer", writeTimeout-readTimeout, c.RequestTimeout)
	case c.ShutdownDelay < 0:
		return fmt.Errorf("--shutdown-delay must not be negative, but is %s", c.ShutdownDelay)
	case c.ListCache < 0 || c.ListCache > maxListCache:
		return fmt.Errorf("--list-cache must be between 0 and %d MiB, not %d", maxListCache, c.ListCache)
	case c.ShutdownTimeout <= 0:
		return fmt.Errorf("--shutdown-timeout must be more than 0, not %s", c.ShutdownTimeout)
	default:
		return nil
	}
}

// auth is what the verifier is made of.
func (a Auth) config() (auth.Config, error) {
	if a.DevKeyFile == "" {
		return auth.Config{Issuer: a.Issuer, Audience: a.Audience, JWKSURL: a.JWKSURL}, nil
	}
	key, err := auth.LoadDevKey(a.DevKeyFile)
	if err != nil {
		return auth.Config{}, fmt.Errorf("--auth-dev-key-file: %w", err)
	}
	c := auth.Config{Issuer: a.Issuer, Audience: a.Audience, DevKey: key}
	if c.Issuer == "" {
		c.Issuer = auth.DevIssuer
	}
	if c.Audience == "" {
		c.Audience = auth.DevAudience
	}
	return c, nil
}

// domains are those of the file, or the built-in ones.
func (c Config) domains() (preferences.Domains, error) {
	if c.Deployment.DomainsFile == "" {
		return preferences.DefaultDomains(), nil
	}
	return config.ParseFile("--domains-file", c.Deployment.DomainsFile, preferences.ParseDomains)
}

// listen takes both addresses, or none.
func (c Config) listen(ctx context.Context) (public, admin net.Listener, err error) {
	if public, err = httpd.Listen(ctx, c.Listener, "--http-addr", c.HTTPAddr); err != nil {
		return nil, nil, err
	}
	if admin, err = httpd.Listen(ctx, c.AdminListener, "--admin-addr", c.AdminAddr); err != nil {
		return nil, nil, errors.Join(err, public.Close())
	}
	return public, admin, nil
}
