package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/prefsd/prefsd/services/api/middleware"
)

// Limits are how much may be asked of one process. The zero value of each sets
// none.
type Limits struct {
	User     middleware.Quota `name:"rate-limit" default:"6000/1m" help:"Requests that each user may send to one process, as number/time; or off."`
	System   middleware.Quota `name:"rate-limit-system" default:"60000/1m" help:"The same for each service and administrator."`
	AtWork   int              `name:"concurrency-limit" default:"0" help:"Requests that may be at work at once; 0 means as many as the connections to the database allow."`
	Waiting  int              `name:"queue-limit" default:"256" help:"Requests that may wait for those at work, in each lane; more are answered 503."`
	Patience time.Duration    `name:"queue-timeout" default:"2s" help:"How long a request may wait for those at work; then it is answered 503."`
	Bodies   int64            `kong:"-"` // bytes that the bodies of all requests in hand may take; 0 means 64 MiB
}

// What is not for operators to set.
const (
	userAtOnce   = 64       // requests of one user in hand: more than browsers send
	systemAtOnce = 256      // requests of one service in hand
	bodyMemory   = 64 << 20 // bytes of all bodies in hand, unless Limits say otherwise
)

// Validate refuses limits below zero.
func (l Limits) Validate() error {
	switch {
	case l.AtWork < 0:
		return fmt.Errorf("--concurrency-limit must not be negative, not %d", l.AtWork)
	case l.Waiting < 0:
		return fmt.Errorf("--queue-limit must not be negative, not %d", l.Waiting)
	case l.Patience < 0:
		return fmt.Errorf("--queue-timeout must not be negative, not %s", l.Patience)
	default:
		return nil
	}
}

// within derives from the pool how many may be at work, if nobody said. One
// connection is left to the question whether the database is there: a process
// that is merely busy must not seem dead.
func (l Limits) within(conns int) Limits {
	if l.AtWork == 0 {
		l.AtWork = max(conns-1, 1)
	}
	return l
}

// Limiter holds callers back. All that serves in a process shares one.
type Limiter struct {
	limits        Limits
	users, system *middleware.Rates
	bodies        *middleware.Memory
	lanes         lanes
}

// lanes keep kinds of requests from starving each other.
type lanes struct {
	users  *middleware.Lane // reads and saves
	known  *middleware.Lane // reads with a tag, which one row answers nearly always
	system *middleware.Lane // what may take minutes
}

// reserved is the part of the slots, one in so many, that is kept for each of
// the lanes that are not the users'.
const reserved = 8

// NewLimiter returns a limiter that has seen nobody yet.
func NewLimiter(l Limits) *Limiter {
	out := &Limiter{
		limits: l,
		users:  middleware.NewRates("user", l.User, userAtOnce),
		system: middleware.NewRates("system", l.System, systemAtOnce),
		bodies: middleware.NewMemory(cmp.Or(l.Bodies, bodyMemory)),
	}
	if l.AtWork > 0 {
		part := max(l.AtWork/reserved, 1)
		out.lanes = lanes{
			users:  middleware.NewLane(max(l.AtWork-2*part, 1), l.Waiting, l.Patience),
			known:  middleware.NewLane(part, l.Waiting, l.Patience),
			system: middleware.NewLane(part, l.Waiting, l.Patience),
		}
	}
	return out
}

// admit lets the requests of a route in by its lane.
func (l *Limiter) admit(r Route, h echo.HandlerFunc) echo.HandlerFunc {
	switch {
	case l.lanes == lanes{}, r.Audience == Anyone:
		return h
	case r.Audience == System, r.Audience == Admins:
		return middleware.AtWork(h, l.lanes.system)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return middleware.Conditional(middleware.AtWork(h, l.lanes.users, l.lanes.known), middleware.AtWork(h, l.lanes.users))
	default:
		return middleware.AtWork(h, l.lanes.users)
	}
}

// showLimits shows how near the limits are.
func showLimits(meter metric.Meter, l *Limiter) error {
	var errs [3]error
	_, errs[0] = meter.Int64ObservableGauge("prefs_http_lane_requests",
		metric.WithDescription("Requests by lane and by what they do; limit is how many may work."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for name, lane := range map[string]*middleware.Lane{"users": l.lanes.users, "conditional": l.lanes.known, "system": l.lanes.system} {
				working, limit, waiting := lane.Usage()
				for state, n := range map[string]int{"working": working, "waiting": waiting, "limit": limit} {
					o.Observe(int64(n), metric.WithAttributes(attribute.String("lane", name), attribute.String("state", state)))
				}
			}
			return nil
		}))
	_, errs[1] = meter.Int64ObservableGauge("prefs_rate_limit_subjects",
		metric.WithDescription("Subjects whose requests are counted."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for name, rates := range map[string]*middleware.Rates{"user": l.users, "system": l.system} {
				o.Observe(int64(rates.Subjects()), metric.WithAttributes(attribute.String("policy", name)))
			}
			return nil
		}))
	_, errs[2] = meter.Int64ObservableGauge("prefs_http_body_memory_bytes",
		metric.WithDescription("Memory that the bodies of requests in hand take, and how much they may."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			used, limit := l.bodies.InUse()
			o.Observe(used, metric.WithAttributes(attribute.String("state", "in_use")))
			o.Observe(limit, metric.WithAttributes(attribute.String("state", "limit")))
			return nil
		}))
	return errors.Join(errs[:]...)
}
