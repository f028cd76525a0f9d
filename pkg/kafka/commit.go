package kafka

import (
	"maps"
	"slices"
	"sync"
)

// offsets collects what is done and not yet committed.
type offsets struct {
	marked chan struct{} // has room for one: there is something to commit

	mu      sync.Mutex
	pending map[topicPartition]int64
	current map[topicPartition]int64 // also what is committed
	doubted map[topicPartition]bool  // perhaps gone: nothing is committed until start
}

func newOffsets() *offsets {
	return &offsets{
		marked:  make(chan struct{}, 1),
		pending: map[topicPartition]int64{},
		current: map[topicPartition]int64{},
		doubted: map[topicPartition]bool{},
	}
}

// start says where a partition's worker begins, or goes on in a log that it
// knows again.
func (o *offsets) start(at topicPartition, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.doubted, at)
	o.current[at] = next
}

// mark says that everything of a partition below next is done.
func (o *offsets) mark(at topicPartition, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.doubted[at] {
		return
	}
	o.pending[at], o.current[at] = next, next
	o.signal()
}

// doubt drops what is not committed of topics of which a partition is unknown,
// and what is done there from now on, until the workers have looked whether the
// logs are those that they were. A topic is deleted with all its partitions, and
// not every worker sees it happen.
func (o *offsets) doubt(topics ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for at := range o.current {
		if slices.Contains(topics, at.topic) {
			delete(o.pending, at)
			delete(o.current, at)
			o.doubted[at] = true
		}
	}
}

func (o *offsets) inDoubt(at topicPartition) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.doubted[at]
}

// repeat makes everything pending, also what is committed already.
func (o *offsets) repeat() {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.Copy(o.pending, o.current)
}

func (o *offsets) signal() {
	select {
	case o.marked <- struct{}{}:
	default: // it is known already
	}
}

// take removes and returns what is to be committed, as the library wants it.
func (o *offsets) take() map[string]map[int]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]map[int]int64{}
	for at, next := range o.pending {
		if out[at.topic] == nil {
			out[at.topic] = map[int]int64{}
		}
		out[at.topic][at.partition] = next
	}
	clear(o.pending)
	return out
}

// giveBack returns what could not be committed, unless it is out of date or in
// doubt.
func (o *offsets) giveBack(batch map[string]map[int]int64) {
	o.mu.Lock()
	for topic, partitions := range batch {
		for p, next := range partitions {
			at := topicPartition{topic, p}
			if _, newer := o.pending[at]; !newer && !o.doubted[at] {
				o.pending[at] = next
			}
		}
	}
	o.mu.Unlock()
	o.signal()
}
