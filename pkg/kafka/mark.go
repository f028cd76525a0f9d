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

func (m *mark) is(r Record) bool {
	return m.offset == r.Offset && m.time.Equal(r.Time) && bytes.Equal(m.key, r.Key) && bytes.Equal(m.value, r.Value)
}

// isUnknown says whether the cluster knows no such partition, for now or for
// good.
func isUnknown(err error) bool {
	return errors.Is(err, kafkago.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
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
	case w.mark == nil || w.mark.offset < first:
		w.missed = false
		return nil
	case w.mark.offset >= last:
		return nil
	}
	got, err := w.g.cfg.Client.fetch(ctx, w.at, w.mark.offset)
	if err != nil {
		return err
	}
	w.missed = false
	switch {
	case len(got.records) == 0 || got.records[0].Offset != w.mark.offset:
	case w.mark.is(got.records[0]):
		w.offsets.start(w.at, w.next)
	default:
		w.restart(ctx, first)
	}
	return nil
}
