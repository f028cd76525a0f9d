package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
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

// Lag is how far a partition of this member is behind.
type Lag struct {
	Topic     string
	Partition int
	Records   int64 // that readers may see and that are not handled yet
	Blind     bool  // the broker did not answer the last time that it was asked: there may be more by now
}

// Group is one member of a consumer group: at least once, in order per
// partition. Offsets are committed after their records are done.
type Group struct {
	cfg     GroupConfig
	handler Handler
	log     *slog.Logger

	mu      sync.Mutex
	workers []*worker // of the current generation
	joined  bool      // ever
	idle    time.Time // since when there is no generation; zero while there is one
	warned  map[Stage]time.Time
}

// NewGroup returns a member that joins when it runs.
func NewGroup(cfg GroupConfig, handler Handler, log *slog.Logger) *Group {
	return &Group{
		cfg:     cfg.withDefaults(),
		handler: handler,
		log:     log.With(slog.String("group", cfg.Group)),
		warned:  make(map[Stage]time.Time),
	}
}

// Run consumes until ctx ends, then finishes the records at hand, commits and
// leaves the group. It returns nil then, and an error only for a configuration
// that cannot work. A group runs once.
func (g *Group) Run(ctx context.Context) error {
	if err := g.cfg.validate(); err != nil {
		return fmt.Errorf("consumer group %s: %w", g.cfg.Group, err)
	}
	if !g.awaitTopics(ctx) {
		return nil
	}
	conns := newNetwork(g.cfg.Client.cfg.DialTimeout)
	leader := &leader{}
	cg, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                g.cfg.Group,
		Brokers:           g.cfg.Client.cfg.Brokers,
		Dialer:            g.cfg.Client.newDialer(conns),
		Topics:            g.cfg.Topics,
		GroupBalancers:    []kafkago.GroupBalancer{leader},
		HeartbeatInterval: g.cfg.Heartbeat,
		SessionTimeout:    g.cfg.SessionTimeout,
		RebalanceTimeout:  g.cfg.RebalanceTimeout,
		JoinGroupBackoff:  joinBackoff,
		StartOffset:       kafkago.FirstOffset,
		Timeout:           coordinatorTimeout,
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", g.cfg.Group, err)
	}
	defer g.leave(cg, conns)
	g.follow(ctx, cg, leader)
	return nil
}

// awaitTopics waits until every topic exists. A member that joins earlier gets
// an assignment without the missing topic's partitions.
func (g *Group) awaitTopics(ctx context.Context) bool {
	for retry := 0; ; retry++ {
		counts, err := g.cfg.Client.partitions(ctx, g.cfg.Topics...)
		if err == nil && len(counts) == len(g.cfg.Topics) {
			return true
		}
		if err == nil {
			err = fmt.Errorf("the cluster knows %d of %d topics", len(counts), len(g.cfg.Topics))
		}
		if ctx.Err() != nil {
			return false
		}
		g.failed(ctx, StageTopics, err)
		if !topicsBackoff.wait(ctx, retry) {
			return false
		}
	}
}

// follow runs one generation after the other.
func (g *Group) follow(ctx context.Context, cg *kafkago.ConsumerGroup, leader *leader) {
	var evictions sync.WaitGroup
	defer evictions.Wait()
	member := ""
	for {
		gen, err := cg.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, kafkago.ErrGroupClosed) {
			return
		}
		if err != nil {
			g.failed(ctx, StageJoin, err)
		}
		// During a rebalance the library keeps the member id. After any other
		// error it forgets it, having said goodbye to a coordinator that may
		// be gone, and joins as a stranger.
		stale := err != nil && !errors.Is(err, kafkago.RebalanceInProgress)
		if member != "" && (stale || err == nil && gen.MemberID != member) {
			id := member
			evictions.Go(func() { g.evict(ctx, id) })
			member = ""
		}
		if err != nil {
			continue
		}
		member = gen.MemberID
		run := newGeneration(g, gen, leader.take())
		gen.Start(func(ended context.Context) { run.run(ctx, ended) })
	}
}

// leave ends the generation and the membership. The records at hand get their
// time, the network only a little of it: a coordinator that is gone must not
// hold up the process.
func (g *Group) leave(cg *kafkago.ConsumerGroup, conns *network) {
	cut := time.AfterFunc(g.cfg.RevokeGrace+coordinatorTimeout, conns.close)
	defer cut.Stop()
	_ = cg.Close() // always nil
	conns.close()
}

// evict removes the member that this process was. A coordinator that takes
// over after a crash still counts on it, and every rebalance would wait for it
// until its session times out.
func (g *Group) evict(ctx context.Context, member string) {
	ctx, cancel := context.WithTimeout(ctx, 2*g.cfg.SessionTimeout)
	defer cancel()
	api := g.cfg.Client.requests(coordinatorTimeout)
	for {
		r, err := api.LeaveGroup(ctx, &kafkago.LeaveGroupRequest{
			GroupID: g.cfg.Group,
			Members: []kafkago.LeaveGroupRequestMember{{ID: member}},
		})
		// The library misreads the answer's top level: an error there looks
		// like success. That the member is unknown stands further down, and is
		// the only proof.
		if err == nil && len(r.Members) == 1 && errors.Is(r.Members[0].Error, kafkago.UnknownMemberId) {
			return
		}
		if !sleep(ctx, evictEvery) {
			return
		}
	}
}

// failed logs and counts what will be tried again.
func (g *Group) failed(ctx context.Context, stage Stage, err error, attrs ...slog.Attr) {
	if g.cfg.Hooks.Failed != nil {
		g.cfg.Hooks.Failed(stage)
	}
	if stage != StageHandle && stage != StageGate { // those are not the broker's
		err = advised(err)
	}
	attrs = append(attrs, slog.String("stage", string(stage)), slog.Any("error", err))
	g.log.LogAttrs(ctx, g.levelOf(stage), "consumer group tries again", attrs...)
}

// levelOf keeps an outage from filling the log: every partition notices it, and
// again at every attempt. A record that fails is always worth a line.
func (g *Group) levelOf(stage Stage) slog.Level {
	g.mu.Lock()
	defer g.mu.Unlock()
	if stage != StageHandle && time.Since(g.warned[stage]) < warnEvery {
		return slog.LevelDebug
	}
	g.warned[stage] = time.Now()
	return slog.LevelWarn
}

// Ready reports whether the member takes part in the group: it has joined, and
// has not been without a generation for longer than ReadyGrace since.
func (g *Group) Ready() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.joined && (g.idle.IsZero() || time.Since(g.idle) < g.cfg.ReadyGrace)
}

// Healthy reports whether every handler keeps its time, give or take a factor
// of two. Otherwise one hangs, its partition stands still, and only a restart
// helps.
func (g *Group) Healthy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.workers {
		if w.handlingFor() > g.cfg.hang() {
			return false
		}
	}
	return true
}

// Lags returns the lag of every partition that this member has now.
func (g *Group) Lags() []Lag {
	g.mu.Lock()
	defer g.mu.Unlock()
	lags := make([]Lag, 0, len(g.workers))
	for _, w := range g.workers {
		if n, known := w.lag(); known {
			lags = append(lags, Lag{Topic: w.at.topic, Partition: w.at.partition, Records: n, Blind: w.blind.Load()})
		}
	}
	return lags
}

func (g *Group) begin(workers []*worker) {
	g.mu.Lock()
	g.workers, g.joined, g.idle = workers, true, time.Time{}
	g.mu.Unlock()
	if g.cfg.Hooks.Rebalanced != nil {
		g.cfg.Hooks.Rebalanced(len(workers))
	}
}

func (g *Group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers, g.idle = nil, time.Now()
}
