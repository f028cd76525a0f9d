package outbox

import (
	"cmp"
	"os"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// Config tunes a Relay. Zero values mean the defaults.
type Config struct {
	EventSource string        // the CloudEvents source of what is published
	Retention   time.Duration // how long published rows are kept; default 24 h
	Meter       metric.Meter  // default: none
	Tracer      trace.Tracer  // default: none

	Owner      string        // who holds the lease: unique; default the host's name and something random
	Lease      time.Duration // default 5 s
	SaveEvery  time.Duration // while rows are published: what a crash may repeat, besides Ahead; default 100 ms
	RenewEvery time.Duration // while none are; default 250 ms

	Batch      int // rows of one round or page; default 2000
	BatchBytes int // of their values; default 16 MiB
	// Ahead is how many rows may be read past the oldest unpublished one before
	// reading stops; default 50,000. While no partition is slow it is the rows
	// of one read or two. The cursor stays at that oldest row, so this, and the
	// rows of one read, is what the next relay may repeat.
	Ahead int

	Poll     time.Duration // how late a lost wake-up is noticed; default 250 ms
	BusyPoll time.Duration // between rounds under load; default 3 ms
	Patience time.Duration // how long a slow partition holds up the next round; default 100 ms

	DrainFor   time.Duration // how long a graceful stop waits for deliveries; default 5 s
	YieldAfter time.Duration // how long a silent broker is waited for before another relay may try; default 30 s
	TendEvery  time.Duration // between looks at health and retention; default 10 s

	manifest int // places of a backlog that are listed at once
}

func (c Config) withDefaults() Config {
	if c.Owner == "" {
		host, _ := os.Hostname() // without one, the rest still is unique
		c.Owner = host + "/" + uuid.NewString()[:8]
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	c.Retention = cmp.Or(c.Retention, 24*time.Hour)
	c.Lease = cmp.Or(c.Lease, 5*time.Second)
	c.SaveEvery = cmp.Or(c.SaveEvery, 100*time.Millisecond)
	c.RenewEvery = cmp.Or(c.RenewEvery, 250*time.Millisecond)
	c.Batch = cmp.Or(c.Batch, 2000)
	c.BatchBytes = cmp.Or(c.BatchBytes, 16<<20)
	c.Ahead = cmp.Or(c.Ahead, 50_000)
	c.Poll = cmp.Or(c.Poll, 250*time.Millisecond)
	c.BusyPoll = cmp.Or(c.BusyPoll, 3*time.Millisecond)
	c.Patience = cmp.Or(c.Patience, 100*time.Millisecond)
	c.DrainFor = cmp.Or(c.DrainFor, 5*time.Second)
	c.YieldAfter = cmp.Or(c.YieldAfter, 30*time.Second)
	c.TendEvery = cmp.Or(c.TendEvery, 10*time.Second)
	c.manifest = cmp.Or(c.manifest, 1<<20) // 16 MiB
	return c
}

func (c *Config) limit() Limit { return Limit{Rows: c.Batch, Bytes: c.BatchBytes} }
