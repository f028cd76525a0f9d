package kafka

import (
	"bytes"
	"context"
	"errors"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// mark is a record by which a log is known again. A topic that is deleted and
// made anew under its old name has the same partitions and, soon, the same
// offsets: without a look at what stands there, its first records would be
// taken for records that were handled long ago.
type mark struct {
	offset int64
	time   time.Time
	key    []byte
	value  []byte
}

func markOf(r Record) *mark { return &mark{r.Offset, r.Time, r.Key, r.Value} }

func (m *mark) is(other *mark) bool {
	return m.offset == other.offset && m.time.Equal(other.time) && bytes.Equal(m.key, other.key) && bytes.Equal(m.value, other.value)
}

// markAt reads what stands at an offset; nil: nothing does.
func (w *worker) markAt(ctx context.Context, offset int64) (*mark, error) {
	got, err := w.g.cfg.Client.fetch(ctx, w.at, offset)
	if err != nil || len(got.records) == 0 || got.records[0].Offset != offset {
		return nil, err
	}
	return markOf(got.records[0]), nil
}

// isUnknown says whether the cluster knows no such partition, for now or for
// good.
func isUnknown(err error) bool {
	return errors.Is(err, kafkago.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// remember reads the record before the first that is to be read: a log in which
// nothing happens for long is to be known again, too.
func (w *worker) remember(ctx context.Context) error {
	if w.next > 0 {
		found, err := w.markAt(ctx, w.next-1)
		// Out of range: it is removed, or the log is another one already, as the next fetch finds out.
		if err != nil && !errors.Is(err, kafkago.OffsetOutOfRange) {
			return err
		}
		w.mark = found
	}
	w.remembers, w.heard = true, time.Now()
	return nil
}

// recognise finds out whether a partition that the broker did not know for a
// while is the one that it was: a broker that has just started knows nothing
// yet. Only another record where the mark was proves that it is not. One that
// is not there may be removed, which settles it, or not be written yet: then it
// is looked for again, before anything that is read is believed.
func (w *worker) recognise(ctx context.Context) error {
	first, last, err := w.g.cfg.Client.bounds(ctx, w.at)
	if err != nil {
		return err
	}
	switch {
	case w.mark == nil:
		w.missed = false
		w.offsets.start(w.at, w.next)
		return nil
	case w.mark.offset < first:
		w.resume()
		return nil
	case w.mark.offset >= last:
		return nil
	}
	found, err := w.markAt(ctx, w.mark.offset)
	if err != nil {
		return err
	}
	if found != nil && !w.mark.is(found) {
		w.restart(ctx, first)
		return nil
	}
	w.resume()
	return nil
}

// resume goes on at an offset that is right, and has it committed.
func (w *worker) resume() {
	w.missed = false
	w.offsets.start(w.at, w.next)
	w.offsets.mark(w.at, w.next)
}
