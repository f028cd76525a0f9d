package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// What the library waits after an error before it joins again.
	joinBackoff = 500 * time.Millisecond

	// Of one request to the coordinator, beyond what it waits for others.
	coordinatorTimeout = 5 * time.Second

	// How often the end of a partition is looked up that was not fetched from.
	lookEvery = 2 * time.Second

	// How often a forgotten member is asked to leave.
	evictEvery = 100 * time.Millisecond

	// How often the same trouble is worth a warning.
	warnEvery = 10 * time.Second

	// Of one fetch, when there is nothing to read.
	fetchWait = time.Second

	// Of one partition in one fetch. A larger record comes alone.
	fetchBytes = 1 << 20

	// What a fetch takes on top of fetchWait before its broker counts as gone.
	fetchSlack = 10 * time.Second
)

var (
	topicsBackoff = backoff{low: 250 * time.Millisecond, high: 2 * time.Second}
	fetchBackoff  = backoff{low: 50 * time.Millisecond, high: 5 * time.Second}
	gateBackoff   = backoff{low: 50 * time.Millisecond, high: time.Second}
)

// GroupConfig says what a group consumes and how long things may take. Zero
// durations mean the defaults.
type GroupConfig struct {
	Client *Client
	Group  string   // group id
	Topics []string // waited for when they do not exist yet

	// Gate is awaited before every attempt at a record, so that an outage of a
	// dependency pauses all partitions while the member stays in the group. It
	// returns nil when the record may be tried. Optional.
	Gate func(ctx context.Context) error

	Hooks Hooks

	HandlerTimeout   time.Duration // of one attempt; default 10 s
	RevokeGrace      time.Duration // for the record at hand when its partition goes; default 15 s
	RebalanceTimeout time.Duration // what the coordinator waits for members; default 30 s
	SessionTimeout   time.Duration // after which a silent member is dead; default 10 s
	Heartbeat        time.Duration // default 1 s
	CommitInterval   time.Duration // offsets are coalesced for so long; default 100 ms
	WatchInterval    time.Duration // how often partition counts are looked at; default 5 s
	RetryMin         time.Duration // shortest wait after a handler's error; default 100 ms
	RetryMax         time.Duration // longest wait after a handler's error; default 30 s
	ReadyGrace       time.Duration // how long Ready outlives a generation; default 30 s
}

// Stage names the part of the group that failed, for a metric's label.
type Stage string

// Stages of a group.
const (
	StageTopics  Stage = "topics"  // topics do not exist or cannot be looked up
	StageJoin    Stage = "join"    // there is no generation
	StageOffsets Stage = "offsets" // a partition's bounds cannot be looked up
	StageFetch   Stage = "fetch"
	StageGate    Stage = "gate"
	StageHandle  Stage = "handle"
	StageCommit  Stage = "commit"
)

// Hooks are called as things happen, for metrics. Each is optional, must be
// safe for concurrent use, and must not block.
type Hooks struct {
	// Failed says which part had to try again.
	Failed func(stage Stage)

	// Rebalanced says that a generation began with so many partitions here.
	Rebalanced func(partitions int)

	// Reset says that an offset was not in the log any more. When to is the
	// larger one, the records between are lost to this group.
	Reset func(topic string, partition int, from, to int64)

	// Hung says that a handler has taken twice the time that it may: it does not
	// look at its context, and its partition stands still until it returns.
	Hung func(topic string, partition int)

	// Handled says that a record is done: how long the last attempt took, and
	// how old the record was when it ended.
	Handled func(topic string, took, age time.Duration)
}

func (c GroupConfig) withDefaults() GroupConfig {
	c.Topics = slices.Compact(slices.Sorted(slices.Values(c.Topics)))
	c.HandlerTimeout = cmp.Or(c.HandlerTimeout, 10*time.Second)
	c.RevokeGrace = cmp.Or(c.RevokeGrace, 15*time.Second)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 30*time.Second)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.Heartbeat = cmp.Or(c.Heartbeat, time.Second)
	c.CommitInterval = cmp.Or(c.CommitInterval, 100*time.Millisecond)
	c.WatchInterval = cmp.Or(c.WatchInterval, 5*time.Second)
	c.RetryMin = cmp.Or(c.RetryMin, 100*time.Millisecond)
	c.RetryMax = cmp.Or(c.RetryMax, 30*time.Second)
	c.ReadyGrace = cmp.Or(c.ReadyGrace, 30*time.Second)
	return c
}

// hang is when a handler counts as one that never returns.
func (c GroupConfig) hang() time.Duration { return 2 * c.HandlerTimeout }

// validate refuses times that would let two members work on one partition, or
// make the coordinator drop a member that is alive.
func (c GroupConfig) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("no client")
	case c.Group == "" || len(c.Topics) == 0:
		return errors.New("no group id or no topics")
	case c.HandlerTimeout >= c.RevokeGrace:
		return fmt.Errorf("handler timeout %s must be shorter than the revoke grace %s", c.HandlerTimeout, c.RevokeGrace)
	case c.RevokeGrace >= c.RebalanceTimeout:
		return fmt.Errorf("revoke grace %s must be shorter than the rebalance timeout %s", c.RevokeGrace, c.RebalanceTimeout)
	case 2*c.Heartbeat >= c.SessionTimeout:
		return fmt.Errorf("heartbeat %s must be shorter than half the session timeout %s", c.Heartbeat, c.SessionTimeout)
	case c.RetryMin > c.RetryMax:
		return fmt.Errorf("retry minimum %s is longer than the maximum %s", c.RetryMin, c.RetryMax)
	}
	return nil
}
