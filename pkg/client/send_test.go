package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
)

// service answers requests in turn; the last answer stands for all that follow.
type service struct {
	answers []func() (*http.Response, error)
	seen    []*http.Request
	bodies  []string
	at      []time.Time
}

func (s *service) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		text, _ := io.ReadAll(req.Body)
		body = string(text)
	}
	n := min(len(s.seen), len(s.answers)-1)
	s.seen, s.bodies, s.at = append(s.seen, req), append(s.bodies, body), append(s.at, time.Now())
	return s.answers[n]()
}

func (s *service) client(t *testing.T, change ...func(*client.Config)) *client.Client {
	t.Helper()
	cfg := client.Config{BaseURL: "http://prefsd.test", Token: client.StaticToken("secret"), HTTP: &http.Client{Transport: s}}
	for _, fn := range change {
		fn(&cfg)
	}
	c, err := client.New(cfg)
	require.NoError(t, err)
	return c
}

// says is an answer; headers are names and values in turn.
func says(status int, body string, headers ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func breaks() (*http.Response, error) { return nil, errors.New("connection reset") }

func brokenOff() (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"pref`), failing{}))}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

const (
	empty  = `{"preferences":[],"nextPageToken":null,"totalSize":0,"etag":"AAAAAAAAAAAAAAAA","version":0}`
	saved  = `{"preferences":[],"nextPageToken":null,"totalSize":0,"etag":"BBBBBBBBBBBBBBBB","version":1,"summary":{"created":0,"updated":0,"deleted":0,"total":0},"skipped":[]}`
	away   = `{"error":{"code":"UNAVAILABLE","message":"The database is away.","status":"UNAVAILABLE","details":{"requestId":"r1"}}}`
	busy   = `{"error":{"code":"REQUEST_IN_PROGRESS","message":"It is under way.","status":"ABORTED","details":{"requestId":"r2"}}}`
	exists = `{"error":{"code":"ALREADY_EXISTS","message":"It is there.","status":"ALREADY_EXISTS","details":{"requestId":"r3","id":"0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69"}}}`
	wrong  = `{"error":{"code":"INVALID_FIELD","message":"No.","status":"INVALID_ARGUMENT","details":{"requestId":"r4","fieldViolations":[{"field":"domain","description":"is required"}]}}}`
)

func TestAWriteIsRepeatedUnderOneKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){breaks, says(503, away, "Retry-After", "1"), says(409, busy, "Retry-After", "2"), says(200, saved)}}
		out, err := s.client(t).Save(t.Context(), "accounts", []client.Item{{EntityID: "a"}})
		require.NoError(t, err)
		require.EqualValues(t, 1, out.Version)
		require.Len(t, s.seen, 4)
		key := s.seen[0].Header.Get("Idempotency-Key")
		require.GreaterOrEqual(t, len(key), 16)
		for i, req := range s.seen {
			require.Equal(t, key, req.Header.Get("Idempotency-Key"))
			require.Equal(t, "Bearer secret", req.Header.Get("Authorization"))
			require.JSONEq(t, `{"domain":"accounts","preferences":[{"entityId":"a"}]}`, s.bodies[i])
		}
		require.GreaterOrEqual(t, s.at[2].Sub(s.at[1]), time.Second, "as asked")
		require.GreaterOrEqual(t, s.at[3].Sub(s.at[2]), 2*time.Second, "as asked")

		_, err = s.client(t).Save(t.Context(), "accounts", nil)
		require.NoError(t, err)
		require.NotEqual(t, key, s.seen[4].Header.Get("Idempotency-Key"), "another write")
		require.JSONEq(t, `{"domain":"accounts","preferences":[]}`, s.bodies[4], "nothing is an empty list, not none")
	})
}

func TestAReadIsRepeatedWithoutAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){brokenOff, says(429, ""), says(502, "<html>"), says(200, empty)}}
		_, err := s.client(t).List(t.Context(), "accounts")
		require.NoError(t, err)
		require.Len(t, s.seen, 4)
		require.Empty(t, s.seen[3].Header.Get("Idempotency-Key"))
	})
}

func TestWhatWouldNotHelpIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func() (*http.Response, error)
		want   error
	}{
		"invalid":          {says(400, wrong), client.ErrInvalid},
		"no token":         {says(401, ""), client.ErrUnauthenticated},
		"denied":           {says(403, ""), client.ErrDenied},
		"unknown":          {says(404, ""), client.ErrNotFound},
		"there already":    {says(409, exists), client.ErrConflict},
		"not kept":         {says(410, ""), client.ErrGone},
		"changed":          {says(412, ""), client.ErrChanged},
		"too long to wait": {says(429, "", "Retry-After", "31"), client.ErrLimited},
		"a date far off":   {says(503, away, "Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"), client.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &service{answers: []func() (*http.Response, error){c.answer}}
				_, err := s.client(t).Add(t.Context(), client.NewItem{Domain: "accounts", EntityID: "a"})
				require.ErrorIs(t, err, c.want)
				require.Len(t, s.seen, 1)
			})
		})
	}
}

func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){says(503, away)}}
		_, err := s.client(t).List(t.Context(), "accounts")
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.Len(t, s.seen, 4)

		s = &service{answers: []func() (*http.Response, error){breaks}}
		_, err = s.client(t, func(c *client.Config) { c.Attempts = 2 }).List(t.Context(), "accounts")
		require.ErrorContains(t, err, "connection reset")
		require.Len(t, s.seen, 2)
	})
}

func TestNobodyWaitsBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){says(503, away, "Retry-After", "20")}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := s.client(t).List(ctx, "accounts")
		var refused *client.Error
		require.ErrorAs(t, err, &refused, "the answer is worth more than the end of the context")
		require.Equal(t, 20*time.Second, refused.RetryAfter)
		require.Zero(t, time.Since(begin))
	})
}

func TestACancelledWaitEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []func() (*http.Response, error){says(503, away, "Retry-After", "20")}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		_, err := s.client(t).List(ctx, "accounts")
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(begin))
		require.Len(t, s.seen, 1)
	})
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, empty)}}
	_, err := s.client(t, func(c *client.Config) {
		c.Token = func(context.Context) (string, error) { return "", errors.New("the provider is away") }
	}).List(t.Context(), "accounts")
	require.ErrorContains(t, err, "get a token: the provider is away")
	require.Empty(t, s.seen)
}

func TestAnErrorTellsAll(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(400, wrong)}}
	_, err := s.client(t).List(t.Context(), "accounts")
	require.EqualError(t, err, "prefsd answered 400 INVALID_FIELD: No. [domain: is required] (request r4)")

	s = &service{answers: []func() (*http.Response, error){says(409, exists)}}
	_, err = s.client(t).Add(t.Context(), client.NewItem{})
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", refused.ExistingID)

	s = &service{answers: []func() (*http.Response, error){says(404, "<html>", "X-Request-Id", "r9")}}
	_, err = s.client(t).Item(t.Context(), "x")
	require.EqualError(t, err, "prefsd answered 404: Not Found (request r9)", "something else answered")
}

func TestAnUnchangedListIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, empty, "ETag", `"AAAAAAAAAAAAAAAA-gz"`), says(304, "")}}
	c := s.client(t)
	first, err := c.List(t.Context(), "accounts")
	require.NoError(t, err)
	first.Preferences = append(first.Preferences, client.Preference{EntityID: "mine"})
	second, err := c.List(t.Context(), "accounts")
	require.NoError(t, err)
	require.Equal(t, `"AAAAAAAAAAAAAAAA-gz"`, s.seen[1].Header.Get("If-None-Match"))
	require.Empty(t, second.Preferences, "what one caller does to it is not another's")
	require.Empty(t, s.seen[0].Header.Get("If-None-Match"))
}

func TestOptionsReachTheService(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, saved)}}
	_, err := s.client(t).Save(t.Context(), "accounts", nil, client.IfMatch("AAAAAAAAAAAAAAAA"), client.Force(), client.IdempotencyKey("order-66-order-66"))
	require.NoError(t, err)
	require.Equal(t, `"AAAAAAAAAAAAAAAA"`, s.seen[0].Header.Get("If-Match"))
	require.Equal(t, "order-66-order-66", s.seen[0].Header.Get("Idempotency-Key"))
	require.Equal(t, "force=true", s.seen[0].URL.RawQuery)
}

func TestABaseURLIsChecked(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "prefsd", "://x", "/only/a/path"} {
		_, err := client.New(client.Config{BaseURL: base})
		require.Error(t, err, base)
	}
}

func TestAPathOfTheBaseURLIsKept(t *testing.T) {
	t.Parallel()
	s := &service{answers: []func() (*http.Response, error){says(200, saved)}}
	_, err := s.client(t, func(c *client.Config) { c.BaseURL = "http://gateway.test/prefs" }).Save(t.Context(), "accounts", nil)
	require.NoError(t, err)
	require.Equal(t, "/prefs/preferences:batchReplace", s.seen[0].URL.Path)
}
