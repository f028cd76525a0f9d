package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

const readCommitted = 1

// fetched is what one fetch of one partition brought.
type fetched struct {
	records []Record
	next    int64 // where to go on
	visible int64 // end of what may be read
}

// fetch reads a partition from an offset on. It hides transaction markers and
// the records of aborted transactions, which the library's own readers do not,
// and always gets past what it was given.
func (c *Client) fetch(ctx context.Context, at topicPartition, offset int64) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+fetchSlack)
	defer cancel()
	none := fetched{next: offset, visible: -1}
	r, err := c.transport.RoundTrip(ctx, c.addr, &fetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(fetchWait / time.Millisecond),
		MinBytes:       1,
		MaxBytes:       fetchBytes,
		IsolationLevel: readCommitted,
		SessionEpoch:   -1, // no fetch session
		Topics: []fetch.RequestTopic{{
			Topic: at.topic,
			Partitions: []fetch.RequestPartition{{
				Partition:          int32(at.partition), //nolint:gosec // the protocol's own type
				CurrentLeaderEpoch: -1,
				FetchOffset:        offset,
				LogStartOffset:     -1,
				PartitionMaxBytes:  fetchBytes,
			}},
		}},
	})
	if err != nil {
		return none, err
	}
	res, ok := r.(*fetch.Response)
	if !ok {
		return none, fmt.Errorf("unexpected answer %T to a fetch", r)
	}
	if res.ErrorCode != 0 {
		return none, kafkago.Error(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return none, errors.New("answer to a fetch without its partition")
	}
	return decode(&res.Topics[0].Partitions[0], at, offset)
}

func decode(p *fetch.ResponsePartition, at topicPartition, offset int64) (fetched, error) {
	if p.ErrorCode != 0 {
		return fetched{next: offset, visible: -1}, kafkago.Error(p.ErrorCode)
	}
	d := &decoder{
		at:      at,
		from:    offset,
		aborted: p.AbortedTransactions,
		open:    map[int64]bool{},
		out:     fetched{next: offset, visible: min(p.HighWatermark, p.LastStableOffset)},
	}
	stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok || len(stream.Records) == 0 {
		return d.out, nil
	}
	for _, b := range stream.Records {
		if err := d.batch(b); err != nil {
			// What came before is good, and may be what gets past the rest.
			if d.out.next > offset {
				return d.out, nil
			}
			return d.out, fmt.Errorf("decode at offset %d: %w", offset, err)
		}
	}
	// The broker answers with the batch that spans the offset. If nothing in
	// it is that late, compaction has removed what was, and one step is safe.
	d.out.next = max(d.out.next, offset+1)
	return d.out, nil
}

// decoder goes through the batches of one answer in the order of the log.
type decoder struct {
	at      topicPartition
	from    int64
	aborted []fetch.ResponseTransaction // that begin further on
	open    map[int64]bool              // producers inside an aborted transaction
	out     fetched
}

func (d *decoder) batch(r protocol.RecordReader) error {
	switch b := r.(type) {
	case *protocol.ControlBatch:
		return d.markers(b)
	case *protocol.RecordBatch:
		d.enter(b.BaseOffset)
		return d.records(b, b.Attributes.Transactional() && d.open[b.ProducerID])
	default:
		return d.records(r, false)
	}
}

// enter notes the aborted transactions that have begun at an offset.
func (d *decoder) enter(offset int64) {
	later := d.aborted[:0:0]
	for _, t := range d.aborted {
		if t.FirstOffset <= offset {
			d.open[t.ProducerID] = true
		} else {
			later = append(later, t)
		}
	}
	d.aborted = later
}

// markers ends aborted transactions.
func (d *decoder) markers(b *protocol.ControlBatch) error {
	const abort = 0
	for {
		m, err := b.ReadControlRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		d.out.next = max(d.out.next, m.Offset+1)
		if m.Type == abort {
			delete(d.open, b.ProducerID)
		}
	}
}

func (d *decoder) records(r protocol.RecordReader, hidden bool) error {
	for {
		rec, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// A batch is answered whole, also when the offset is in its middle.
		if wanted := !hidden && rec.Offset >= d.from; wanted {
			out, err := d.record(rec)
			if err != nil {
				return err
			}
			d.out.records = append(d.out.records, out)
		}
		release(rec.Key)
		release(rec.Value)
		d.out.next = max(d.out.next, rec.Offset+1)
	}
}

func (d *decoder) record(rec *protocol.Record) (Record, error) {
	out := Record{Topic: d.at.topic, Partition: d.at.partition, Offset: rec.Offset, Time: rec.Time.UTC()}
	var err error
	if out.Key, err = protocol.ReadAll(rec.Key); err != nil {
		return out, err
	}
	if out.Value, err = protocol.ReadAll(rec.Value); err != nil {
		return out, err
	}
	for _, h := range rec.Headers {
		out.Headers = append(out.Headers, Header{Name: h.Key, Value: h.Value})
	}
	return out, nil
}

// release returns a record's memory to the library's pool.
func release(b protocol.Bytes) {
	if b != nil {
		_ = b.Close() // always nil
	}
}
