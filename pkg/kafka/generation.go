package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/crashpoint"
)

// errPartitionsChanged ends a generation whose assignment is out of date.
var errPartitionsChanged = errors.New("a topic has other partitions than were assigned")

// generation is what happens between two rebalances: one worker per partition
// that this member has, and one goroutine that commits.
type generation struct {
	g       *Group
	gen     *kafkago.Generation
	counts  map[string]int // what the leader distributed; nil on other members
	offsets *offsets
	workers []*worker
}

func newGeneration(g *Group, gen *kafkago.Generation, counts map[string]int) *generation {
	n := &generation{g: g, gen: gen, counts: counts, offsets: newOffsets()}
	for topic, partitions := range gen.Assignments {
		for _, p := range partitions {
			at := topicPartition{topic, p.ID}
			n.workers = append(n.workers, newWorker(g, at, p.Offset, n.offsets))
		}
	}
	return n
}

// run returns when nothing of the generation runs any more, which is what the
// library waits for before it joins the next one. The generation is over when
// ended is; process is the context of the whole group, whose values the
// handlers get, but whose end they learn from ended.
func (n *generation) run(process, ended context.Context) {
	n.g.begin(n.workers)
	defer n.g.end()

	parts, ctx := errgroup.WithContext(ended)
	parts.Go(func() error { return n.commit(ctx) })
	parts.Go(func() error { return n.look(ctx) })
	if n.counts != nil {
		parts.Go(func() error { return n.watch(ctx) })
	}
	var workers sync.WaitGroup
	for _, w := range n.workers {
		workers.Go(func() { w.run(context.WithoutCancel(process), ctx) })
	}

	<-ctx.Done()
	cause := parts.Wait()
	n.drain(process, &workers)
	if process.Err() == nil && errors.Is(cause, errPartitionsChanged) {
		n.g.log.InfoContext(process, "joining again for other partitions")
	}
}

// drain waits for the workers to finish the records at hand, and commits what
// they did: the coordinator takes it as long as it waits for this member.
// Meanwhile the library's heartbeat is over, and after the session timeout the
// coordinator would take the member for dead and give its partitions away. A
// commit is as good as a heartbeat, even one that says nothing new.
func (n *generation) drain(process context.Context, workers *sync.WaitGroup) {
	finished, done := context.WithCancel(context.WithoutCancel(process))
	go func() {
		defer done()
		workers.Wait()
	}()
	for sleep(finished, n.g.cfg.Heartbeat) {
		n.offsets.repeat()
		if n.store(process) != nil {
			break // it has been given up already, and may only finish
		}
	}
	<-finished.Done()
	_ = n.store(process) // logged; what is not kept comes again
}

// commit stores offsets while there are new ones. It is the only goroutine
// that does: the library's connection to the coordinator collapses under
// concurrent commits.
func (n *generation) commit(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.offsets.marked:
		}
		if !sleep(ctx, n.g.cfg.CommitInterval) {
			return nil // drain follows
		}
		if err := n.store(ctx); err != nil {
			return err
		}
	}
}

// store commits once. Only an error after which the coordinator will not talk
// to this generation again is returned: better to join again at once than to
// work on records whose offsets cannot be kept.
func (n *generation) store(ctx context.Context) error {
	batch := n.offsets.take()
	if len(batch) == 0 {
		return nil
	}
	crashpoint.Hit("offsets.committing")
	err := n.gen.CommitOffsets(batch)
	if err == nil {
		crashpoint.Hit("offsets.committed")
		return nil
	}
	n.g.failed(ctx, StageCommit, err)
	if isUnknown(err) {
		n.offsets.doubt(slices.Collect(maps.Keys(batch))...) // it does not say which, and some may be committed
		return nil
	}
	n.offsets.giveBack(batch)
	if errors.Is(err, kafkago.GroupLoadInProgress) {
		return nil
	}
	return err
}

// look keeps the lag of partitions right whose records take long.
func (n *generation) look(ctx context.Context) error {
	for sleep(ctx, lookEvery) {
		for _, w := range n.workers {
			w.look(ctx)
		}
	}
	return nil
}

// watch runs on the leader, which alone knows what was distributed. It ends
// the generation when there is more, or, where a topic was made anew, less, so
// that it is distributed again.
func (n *generation) watch(ctx context.Context) error {
	for sleep(ctx, n.g.cfg.WatchInterval) {
		counts, err := n.g.cfg.Client.partitions(ctx, n.g.cfg.Topics...)
		if err != nil {
			continue // the workers complain
		}
		for topic, count := range counts { // one that is gone is not there: it is waited for
			if count != n.counts[topic] {
				return errPartitionsChanged
			}
		}
	}
	return nil
}

// leader distributes partitions by range, and remembers how many there were
// when this member was the one to do it.
type leader struct {
	kafkago.RangeGroupBalancer

	mu     sync.Mutex
	counts map[string]int
}

// AssignGroups implements kafkago.GroupBalancer.
func (l *leader) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	counts := map[string]int{}
	for _, p := range partitions {
		counts[p.Topic]++
	}
	l.mu.Lock()
	l.counts = counts
	l.mu.Unlock()
	return l.RangeGroupBalancer.AssignGroups(members, partitions)
}

// take returns the counts of the last distribution, once.
func (l *leader) take() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := l.counts
	l.counts = nil
	return counts
}

// outlive returns a context that ends d after ended does. It has the values of
// parent.
func outlive(parent, ended context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	stop := context.AfterFunc(ended, func() {
		t := time.AfterFunc(d, cancel)
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}
