// Package directory asks the owner of entities which of them exist. What it
// answers may take items out of people's lists, so it believes little: only an
// id that the owner names as not found is missing. An error, an answer that
// leaves an id out, or one that says two things says nothing about any of them.
package directory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/retry"
)

// Config says where the owner is and how patient to be with it. Zero durations
// mean the defaults.
type Config struct {
	URL   string // of the collection, such as http://accounts:8081/accounts
	Token string // bearer token; empty: none is sent

	Timeout  time.Duration // of one request; default 5 s
	Remember time.Duration // how long an answer about an id is good for; default 10 s

	// Opened says that the breaker opened or closed, for a metric. Optional.
	Opened func(open bool)
	Now    func() time.Time // default: time.Now

	Transport http.RoundTripper // default: connections of its own
}

const (
	defaultTimeout  = 5 * time.Second
	defaultRemember = 10 * time.Second

	// Of one request: what every server and proxy takes in a URL.
	maxIDs      = 100
	maxURLBytes = 4 << 10

	// Of one answer to so many ids.
	maxAnswer = 4 << 20

	attempts = 3
	soonest  = 100 * time.Millisecond
	latest   = 2 * time.Second

	tripAfter = 5 // requests that fail in a row
	coolOff   = 15 * time.Second
)

// Client asks one owner. It is safe for concurrent use.
type Client struct {
	cfg     Config
	base    *url.URL
	http    *http.Client
	breaker *gobreaker.CircuitBreaker[answer]
	known   *memory
}

// New returns a client. It does not connect.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the directory's URL must be one of http or https without a query, such as https://accounts.example.com/accounts")
	}
	if base.User != nil {
		return nil, errors.New("the directory's URL must hold no password: there is a token for that")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Remember <= 0 {
		cfg.Remember = defaultRemember
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, base: base, known: newMemory(cfg.Remember, cfg.Now)}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	}
	c.http = &http.Client{
		Timeout:   cfg.Timeout,
		Transport: cfg.Transport,
		// A redirect would take the token and the question to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.breaker = gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
		Name: "directory", Timeout: coolOff,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		// Whoever gives up waiting says nothing about the owner.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if cfg.Opened != nil {
				cfg.Opened(to == gobreaker.StateOpen)
			}
		},
	})
	return c, nil
}

// Close drops the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Missing returns those of the ids that the owner says it does not have, in the
// order asked. An error, which is Unavailable, says nothing about any of them.
// What it says may be as old as Config.Remember.
func (c *Client) Missing(ctx context.Context, ids []string) ([]string, error) {
	var unknown []string
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		if exists, ok := c.known.recall(id); ok {
			there[id] = exists
		} else {
			unknown = append(unknown, id)
		}
	}
	for len(unknown) > 0 {
		n := c.cut(unknown)
		got, err := c.ask(ctx, unknown[:n])
		if err != nil {
			return nil, err
		}
		for id, exists := range got {
			there[id] = exists
			c.known.keep(id, exists)
		}
		unknown = unknown[n:]
	}
	missing := []string{}
	for _, id := range ids {
		if !there[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// cut returns how many ids fit into the next request, at least one.
func (c *Client) cut(ids []string) int {
	size := len(c.base.String())
	for i, id := range ids {
		size += len(url.QueryEscape(id)) + len(",")
		if i > 0 && (i == maxIDs || size > maxURLBytes) {
			return i
		}
	}
	return len(ids)
}

// ask looks ids up, and tries again what may have been a moment's weakness.
func (c *Client) ask(ctx context.Context, ids []string) (answer, error) {
	for failures := 1; ; failures++ {
		got, err := c.breaker.Execute(func() (answer, error) { return c.request(ctx, ids) })
		if err == nil {
			return got, nil
		}
		if failures == attempts || !passing(err) || retry.Wait(ctx, retry.Delay(failures, soonest, latest)) != nil {
			return nil, unavailable(err)
		}
	}
}

func unavailable(err error) error {
	return fault.New(fault.Unavailable, fault.ReasonOwnerUnavailable, "The service that owns the entities cannot be asked.").
		Because(fmt.Errorf("ask the directory: %w", err))
}

// query is the URL that asks about ids.
func (c *Client) query(ids []string) string {
	u := *c.base
	u.RawQuery = url.Values{"ids": {strings.Join(ids, ",")}}.Encode()
	return u.String()
}
