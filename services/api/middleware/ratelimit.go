package middleware

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/prefsd/prefsd/pkg/auth"
)

// Headers of draft-ietf-httpapi-ratelimit-headers-10, in the spelling of
// net/http.
const (
	HeaderRateLimit       = "Ratelimit"
	HeaderRateLimitPolicy = "Ratelimit-Policy"
)

// policyText describes a quota as a structured field (RFC 9651).
func policyText(name string, q Quota, atOnce int) string {
	return `"` + name + `";q=` + strconv.Itoa(q.Requests) + `;w=` + strconv.Itoa(int(q.Window.Seconds())) +
		`, "` + name + `-at-once";q=` + strconv.Itoa(atOnce) + `;qu="concurrent-requests"`
}

// text describes a standing as a structured field. A full bucket gets no more,
// so that nothing can be said about when.
func (r *Rates) text(s standing) string {
	b := make([]byte, 0, 32)
	b = append(append(append(b, '"'), r.name...), `";r=`...)
	b = strconv.AppendInt(b, s.left, 10)
	if s.next > 0 {
		b = strconv.AppendInt(append(b, `;t=`...), seconds(s.next), 10)
	}
	return string(b)
}

// seconds rounds up: who waits so long does not come too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Limited takes a token of the caller for each request, and refuses callers who
// have none left. Those who act for the system have a bucket of their own kind.
// An answer that says that nothing has changed is free: whoever asks again with
// the tag at hand costs next to nothing, and should not be discouraged.
func Limited(users, system *Rates, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		caller, rates := Of(c).Caller, users
		if caller.Has(auth.ScopeSystem) {
			rates = system
		}
		if rates == nil {
			return next(c)
		}
		key := rates.key(caller.Subject)
		now := rates.enter(key)
		rates.show(c, key, now)
		if now.verdict != passed {
			return rates.refuse(c, now)
		}
		defer rates.leave(key)
		return next(c)
	}
}

// show adds the headers when the answer is known.
func (r *Rates) show(c echo.Context, key uint64, now standing) {
	res := c.Response()
	res.Before(func() {
		if res.Status == http.StatusNotModified && now.verdict == passed {
			now = r.refund(key)
		}
		h := res.Header()
		h[HeaderRateLimitPolicy] = r.policy
		h[HeaderRateLimit] = []string{r.text(now)}
	})
}

func (r *Rates) refuse(c echo.Context, now standing) error {
	wait, message := now.next, "Too many requests: "+strconv.Itoa(r.quota.Requests)+" are allowed in "+r.quota.Window.String()+"; Retry-After says when there will be one more."
	if now.verdict == tooMany {
		wait, message = time.Second, "Too many requests at once: "+strconv.Itoa(int(r.atOnce))+" are allowed. Wait for some to be answered."
	}
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.FormatInt(seconds(wait), 10))
	return echo.NewHTTPError(http.StatusTooManyRequests, message)
}
