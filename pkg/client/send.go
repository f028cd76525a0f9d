package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prefsd/prefsd/pkg/retry"
)

const keyHeader = "Idempotency-Key"

// Waits between attempts, where the service asks for none.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = 5 * time.Second
)

// maxBody is more than the largest answer of the API.
const maxBody = 16 << 20

// Do sends a request of the API as the client's user, as http.Client does, and
// sends it again while that is safe and may help: after a failure of the network
// and an answer that asks for patience. Its body must be one that
// http.NewRequest knows how to repeat.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if !reads(req.Method) && req.Header.Get(keyHeader) == "" {
		req.Header.Set(keyHeader, rand.Text())
	}
	for attempt := 1; ; attempt++ {
		res, err := c.attempt(req)
		if attempt == c.attempts || !c.again(req, res, err) {
			return res, err
		}
		wait := max(retry.Delay(attempt, leastWait, mostWait), RetryAfter(res))
		if !patient(req.Context(), wait, c.maxWait) {
			return res, err
		}
		if res != nil {
			_ = res.Body.Close()
		}
		if err := retry.Wait(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// ask sends one of the core's requests, unless that could not be made. The
// caller closes the body of the answer.
func (c *Client) ask(ctx context.Context, req *http.Request, err error, opts []Option) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o(req)
	}
	return c.Do(req.WithContext(ctx))
}

// call returns what sends one of the core's requests and reads its answer, which
// must have that status.
func call[T any](ctx context.Context, c *Client, want int, opts ...Option) func(*http.Request, error) (*T, error) {
	return func(req *http.Request, err error) (*T, error) {
		res, err := c.ask(ctx, req, err, opts)
		if err != nil {
			return nil, err
		}
		defer func() { _ = res.Body.Close() }()
		if want == http.StatusNoContent {
			return nil, expect(res, want)
		}
		out := new(T)
		if err := decode(res, want, out); err != nil {
			return nil, err
		}
		return out, nil
	}
}

func expect(res *http.Response, want int) error {
	if err := ErrorOf(res); err != nil {
		return err
	}
	if res.StatusCode != want {
		return &Error{Status: res.StatusCode, Message: fmt.Sprintf("%d was expected", want)}
	}
	return nil
}

// attempt sends the request once and reads the whole answer, so that one which
// breaks off counts as a failure like any other.
func (c *Client) attempt(req *http.Request) (*http.Response, error) {
	once := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		once.Body = body
	}
	if reads(req.Method) && once.Header.Get("Cache-Control") == "" {
		// A cache on the way, the transport's perhaps, may show a list for minutes after a save.
		once.Header.Set("Cache-Control", "no-cache")
	}
	if c.token != nil {
		token, err := c.token(req.Context())
		if err != nil {
			return nil, &tokenError{err}
		}
		once.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(once) //nolint:gosec // whoever makes the client says where the API is
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	_ = res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

type tokenError struct{ err error }

func (e *tokenError) Error() string { return "get a token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

func reads(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}

// again says whether to repeat. Writes may be, for they have keys; but not one
// whose body is spent.
func (c *Client) again(req *http.Request, res *http.Response, err error) bool {
	if req.Context().Err() != nil || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	if err != nil {
		return !errors.As(err, new(*tokenError))
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		return codeIn(res) == "REQUEST_IN_PROGRESS" // an attempt of ours that is still under way
	default:
		return false
	}
}

// codeIn looks into an answer and leaves it as it was.
func codeIn(res *http.Response) string {
	text, err := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(text))
	var body errorJSON
	if err != nil || json.Unmarshal(text, &body) != nil {
		return ""
	}
	return body.Error.Code
}

// RetryAfter is how long an answer asks to wait; 0 if it does not.
func RetryAfter(res *http.Response) time.Duration {
	if res == nil {
		return 0
	}
	text := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// patient says whether it is worth waiting so long.
func patient(ctx context.Context, wait, most time.Duration) bool {
	deadline, limited := ctx.Deadline()
	return wait <= most && (!limited || time.Until(deadline) > wait)
}
