// Package client is the Go client of prefsd's HTTP API.
//
// A Client acts for one user. It keeps the lists that it has read, with their
// tags, so that reading one that has not changed costs a 304. It repeats what
// failed for a while and is safe to repeat: every write carries an
// Idempotency-Key, by which the service does it once, however often it arrives.
// Edit, EditItem and EditItems change what others change as well: they read, let
// the caller merge, and save only what nobody has changed meanwhile. Sync keeps a
// copy of a list up to date.
//
// What has no method here is reached through Wire, which has every operation of
// the API and the same tokens, keys and repetitions.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prefsd/prefsd/pkg/client/wire"
)

// Shapes of the API, by the names that programs know them by.
type (
	// List is a list as it is read.
	List = wire.List
	// Preference is an item of a list.
	Preference = wire.Preference
	// Attributes are what the caller remembers about an item.
	Attributes = wire.Attributes
	// Item is an item of a list as it is saved.
	Item = wire.ReplaceItem
	// Saved is a list after a save, and what that changed.
	Saved = wire.ReplaceResult
	// Summary counts what a save changed.
	Summary = wire.Summary
	// NewItem is an item to add.
	NewItem = wire.CreateRequest
	// Patch changes an item.
	Patch = wire.UpdateRequest
	// ItemPatch changes one of several items.
	ItemPatch = wire.BatchUpdateItem
	// Changes are what has changed in a list.
	Changes = wire.ListChanges
	// Change is a change of a list, as its history has it.
	Change = wire.Change
)

// Config says how to reach the API and as whom.
type Config struct {
	// BaseURL is where the API is.
	BaseURL string
	// Token returns the bearer token of the next request. It is called for each,
	// and keeps what it can; StaticToken has one that does not change.
	Token func(ctx context.Context) (string, error)
	// HTTP sends the requests; by default a client of its own, which gives up
	// after 10 seconds.
	HTTP *http.Client
	// Attempts are how often a request is sent at most; by default 4.
	Attempts int
	// MaxWait is how long the service may ask to wait before the next attempt;
	// asked for more, the client gives up. By default 30 seconds.
	MaxWait time.Duration
}

const (
	defaultTimeout  = 10 * time.Second
	defaultAttempts = 4
	defaultMaxWait  = 30 * time.Second
)

// Client acts for one user. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	token    func(ctx context.Context) (string, error)
	attempts int
	maxWait  time.Duration
	base     string // with a slash at its end
	wire     *wire.Client

	mu   sync.Mutex
	kept map[string]kept // by domain
}

// New returns a client. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.BaseURL)
	if err != nil || base.Scheme == "" || base.Host == "" {
		return nil, fmt.Errorf("the base URL %q is not one: %w", cfg.BaseURL, errors.Join(errNoURL, err))
	}
	c := &Client{http: cfg.HTTP, token: cfg.Token, attempts: cfg.Attempts, maxWait: cfg.MaxWait, kept: map[string]kept{}}
	if c.http == nil {
		c.http = &http.Client{Timeout: defaultTimeout}
	}
	if c.attempts == 0 {
		c.attempts = defaultAttempts
	}
	if c.maxWait == 0 {
		c.maxWait = defaultMaxWait
	}
	if c.wire, err = wire.NewClient(cfg.BaseURL, wire.WithHTTPClient(c)); err != nil {
		return nil, err
	}
	c.base = c.wire.Server
	return c, nil
}

var errNoURL = errors.New("it needs a scheme and a host")

// StaticToken is a token that does not change.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// Wire has the operations of the API one by one. Their answers are read and
// judged by the caller; ErrorOf helps.
func (c *Client) Wire() *wire.Client { return c.wire }

// Option changes how a write is done.
type Option func(req *http.Request)

// IfMatch makes a write fail with ErrChanged unless the list or item still has
// that tag.
func IfMatch(etag string) Option {
	return func(req *http.Request) { req.Header.Set("If-Match", `"`+etag+`"`) }
}

// IfNew makes a save fail with ErrChanged if the list was ever saved.
func IfNew() Option {
	return func(req *http.Request) { req.Header.Set("If-None-Match", "*") }
}

// Force makes a write ignore its conditions. The history says so.
func Force() Option {
	return func(req *http.Request) {
		q := req.URL.Query()
		q.Set("force", "true")
		req.URL.RawQuery = q.Encode()
	}
}

// IdempotencyKey names a write. By default each has a name of its own; a program
// that may be restarted in the middle of one chooses the name beforehand and
// keeps it.
func IdempotencyKey(key string) Option {
	return func(req *http.Request) { req.Header.Set(keyHeader, key) }
}
