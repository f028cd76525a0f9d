package kafka

import "sync"

// offsets collects what is done and not yet committed.
type offsets struct {
	marked chan struct{} // has room for one: there is something to commit

	mu      sync.Mutex
	pending map[topicPartition]int64
}

func newOffsets() *offsets {
	return &offsets{marked: make(chan struct{}, 1), pending: map[topicPartition]int64{}}
}

// mark says that everything of a partition below next is done.
func (o *offsets) mark(at topicPartition, next int64) {
	o.mu.Lock()
	o.pending[at] = next
	o.mu.Unlock()
	o.signal()
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
