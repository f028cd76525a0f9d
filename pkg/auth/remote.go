package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/prefsd/prefsd/pkg/fault"
)

const (
	fetchTimeout = 5 * time.Second
	maxKeySet    = 1 << 20
)

// fixed is a source whose keys never change.
type fixed struct{ keys *keySet }

func (f fixed) current(context.Context) (*keySet, error)        { return f.keys, nil }
func (f fixed) newer(context.Context, *keySet) (*keySet, error) { return nil, errUnknownKey }
func (f fixed) ready() error                                    { return nil }

func (f fixed) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// remote is a source that fetches a key set. keyfunc parses the keys, but the
// fetching is our own: its client answers 401 to tokens of a new key while
// another request fetches that key, ties the wait of a request to the time of a
// fetch, reads answers of any length, and does not say when keys have changed.
type remote struct {
	Config

	name    string // the URL without its password
	log     *slog.Logger
	state   atomic.Pointer[fetched]
	one     chan struct{} // held by the one who fetches
	unknown *rate.Limiter
}

// fetched is the outcome of fetching so far.
type fetched struct {
	keys *keySet // nil before the first success
	hash [sha256.Size]byte
	at   time.Time // of the last success
	err  error     // of the last attempt
}

func newRemote(cfg Config, log *slog.Logger) (*remote, error) {
	u, err := url.Parse(cfg.JWKSURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, errors.New("auth: the URL of the key set must be an absolute http or https URL")
	}
	r := &remote{Config: cfg, name: u.Redacted(), log: log, one: make(chan struct{}, 1), unknown: rate.NewLimiter(rate.Every(cfg.UnknownEvery), 1)}
	r.state.Store(&fetched{})
	return r, nil
}

// keyClient follows no redirect: only the configured URL is trusted. It keeps no
// connection either, since it asks every few minutes.
func keyClient() *http.Client {
	return &http.Client{
		Timeout:       fetchTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// usable returns the keys, unless they are too old to be trusted.
func (r *remote) usable() *keySet {
	s := r.state.Load()
	if s.keys == nil || time.Since(s.at) > r.MaxStale {
		return nil
	}
	return s.keys
}

func (r *remote) current(ctx context.Context) (*keySet, error) {
	if keys := r.usable(); keys != nil {
		return keys, nil
	}
	return r.newer(ctx, nil)
}

func (r *remote) ready() error {
	if r.usable() != nil {
		return nil
	}
	return r.unavailable()
}

func (r *remote) unavailable() error {
	return fault.New(fault.Unavailable, fault.ReasonUnavailable, "Tokens cannot be verified at the moment. Try again soon.").
		Because(r.state.Load().err)
}

// newer fetches the keys once for all who wait, and not more often than allowed:
// anybody can invent key ids.
func (r *remote) newer(ctx context.Context, seen *keySet) (*keySet, error) {
	select {
	case r.one <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, fault.ReasonUnavailable, "Tokens cannot be verified at the moment. Try again soon.").
			Because(ctx.Err())
	}
	defer func() { <-r.one }()
	if keys := r.usable(); keys != nil && keys != seen {
		return keys, nil // fetched while waiting
	}
	if r.unknown.Allow() {
		// A caller who hangs up must not take the others' chance with him.
		r.fetch(context.WithoutCancel(ctx))
	}
	switch keys := r.usable(); {
	case keys != nil && keys != seen:
		return keys, nil
	case keys == nil || r.state.Load().err != nil:
		return nil, r.unavailable()
	default:
		return nil, errUnknownKey
	}
}

// run fetches at once and then periodically.
func (r *remote) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case r.one <- struct{}{}:
		}
		r.fetch(ctx)
		<-r.one
		wait := r.RefreshEvery
		if r.state.Load().err != nil {
			wait = r.RetryEvery
		}
		timer.Reset(wait - time.Duration(rand.Int64N(int64(wait/10)+1))) // replicas must not ask in step
	}
}

// fetch gets the key set and keeps the outcome. The caller holds one.
func (r *remote) fetch(ctx context.Context) {
	before := r.state.Load()
	after := *before
	body, err := r.get(ctx)
	if err == nil {
		err = after.take(ctx, body, r.CacheSize)
	}
	if ctx.Err() != nil && err != nil {
		return // shutting down says nothing about the provider
	}
	after.err = err
	r.state.Store(&after)
	switch {
	case err != nil && before.err == nil:
		r.log.WarnContext(ctx, "keys cannot be fetched", slog.String("url", r.name), slog.Any("error", err))
	case err == nil && after.keys != before.keys:
		r.log.InfoContext(ctx, "keys were fetched", slog.String("url", r.name), slog.Int("keys", len(after.keys.keys)))
	case err == nil && before.err != nil:
		r.log.InfoContext(ctx, "keys can be fetched again", slog.String("url", r.name))
	}
}

// take replaces the keys if they have changed; with them go the tokens that the
// old ones verified.
func (f *fetched) take(ctx context.Context, body []byte, cacheSize int) error {
	hash := sha256.Sum256(body)
	if f.keys == nil || hash != f.hash {
		keys, err := parseKeys(ctx, body)
		if err != nil {
			return err
		}
		f.keys, f.hash = &keySet{keys: keys, verified: newTokenCache(cacheSize)}, hash
	}
	f.at = time.Now()
	return nil
}

func (r *remote) get(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.JWKSURL, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was read, nothing depends on it
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys: status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch keys: %w", err)
	case len(body) > maxKeySet:
		return nil, fmt.Errorf("fetch keys: more than %d bytes", maxKeySet)
	}
	return body, nil
}
