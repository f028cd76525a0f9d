package kafka

import (
	"maps"
	"sync"
)

// offsets collects what is done and not yet committed.
type offsets struct {
	marked chan struct{} // has room for one: there is something to commit

	mu      sync.Mutex
	pending map[topicPartition]int64
	current map[topicPartition]int64 // also what is committed
}

func newOffsets() *offsets {
	return &offsets{
		marked:  make(chan struct{}, 1),
		pending: map[topicPartition]int64{},
		current: map[topicPartition]int64{},
	}
}

// start says where a partition's worker begins.
func (o *offsets) start(at topicPartition, next int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.current[at] = next
}

// mark says that everything of a partition below next is done.
func (o *offsets) mark(at topicPartition, next int64) {
	o.mu.Lock()
	o.pending[at], o.current[at] = next, next
	o.mu.Unlock()
	o.signal()
}

// forget drops what is known of a partition that the broker does not know: a
// topic of the same name that is made later has offsets of its own.
func (o *offsets) forget(at topicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pending, at)
	delete(o.current, at)
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

// giveBack returns what could not be committed, unless it is out of date.
func (o *offsets) giveBack(batch map[string]map[int]int64) {
	o.mu.Lock()
	for topic, partitions := range batch {
		for p, next := range partitions {
			at := topicPartition{topic, p}
			if _, newer := o.pending[at]; !newer {
				o.pending[at] = next
			}
		}
	}
	o.mu.Unlock()
	o.signal()
}
