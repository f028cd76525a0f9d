package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/prefsd/prefsd/pkg/outbox"
)

const (
	compressFrom = 1 << 10 // smaller batches grow when compressed

	// Where a version 2 record batch keeps its fields, after the four bytes of
	// its size: https://kafka.apache.org/documentation/#recordbatch.
	sizePrefix       = 4
	crcOffset        = 17
	attributesOffset = 21
	producerIDOffset = 43
	epochOffset      = 51
	sequenceOffset   = 53
	recordsOffset    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity is what makes a batch recognisable to the broker when it comes a
// second time.
type identity struct {
	producer int64
	epoch    int16
	sequence int32 // of the first record
}

// batch is one encoded produce request for one partition. Its bytes never
// change, because a timed-out attempt may still be sending them.
type batch struct {
	raw     []byte // with its size in front, as the wire wants it
	records int
	stamped identity
	doubt   *doubt // set once an attempt ended without an answer
}

// encode renders msgs as one batch that belongs to nobody yet.
func encode(msgs []slot) (*batch, error) {
	records := make([]kafkago.Record, len(msgs))
	size := 0
	for i, m := range msgs {
		records[i] = kafkago.Record{Key: kafkago.NewBytes(m.msg.Key), Value: kafkago.NewBytes(m.msg.Value)}
		for _, h := range m.msg.Headers {
			records[i].Headers = append(records[i].Headers, kafkago.Header{Key: h.Name, Value: h.Value})
		}
		size += sizeOf(m.msg)
	}
	set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}
	if size > compressFrom {
		set.Attributes = protocol.Snappy
	}
	var buf bytes.Buffer
	buf.Grow(size + recordsOffset)
	if _, err := set.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("encode a batch of %d records: %w", len(msgs), err)
	}
	return &batch{raw: buf.Bytes(), records: len(msgs)}, nil
}

// stamp returns the batch under id. The receiver stays as it is.
func (b *batch) stamp(id identity) *batch {
	c := *b
	c.stamped = id
	c.raw = bytes.Clone(b.raw)
	body := c.raw[sizePrefix:]
	binary.BigEndian.PutUint64(body[producerIDOffset:], uint64(id.producer))                               //nolint:gosec // two's complement is the wire format
	binary.BigEndian.PutUint16(body[epochOffset:], uint16(id.epoch))                                       //nolint:gosec // as above
	binary.BigEndian.PutUint32(body[sequenceOffset:], uint32(id.sequence))                                 //nolint:gosec // as above
	binary.BigEndian.PutUint32(body[crcOffset:], crc32.Checksum(body[attributesOffset:], castagnoli))
	return &c
}

// after is the sequence number that follows n records; it wraps to 0.
func (id identity) after(n int) int32 {
	return int32((int64(id.sequence) + int64(n)) & math.MaxInt32) //nolint:gosec // masked
}

// sizeOf estimates a record's bytes from above.
func sizeOf(m *outbox.Message) int {
	const perRecord, perHeader = 32, 10
	n := perRecord + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += perHeader + len(h.Name) + len(h.Value)
	}
	return n
}

// doubt remembers which messages a batch holds, without their bytes.
type doubt struct {
	prints []uint64
	keys   map[string]bool
}

var fingerprints = maphash.MakeSeed()

func doubtAbout(msgs []slot) *doubt {
	d := &doubt{keys: map[string]bool{}}
	for _, m := range msgs {
		d.prints = append(d.prints, fingerprint(m.msg))
		if m.msg.Key != nil {
			d.keys[string(m.msg.Key)] = true
		}
	}
	return d
}

// first puts the messages in doubt in front, so that they can be sent again as
// the same batch. It reports false when that is impossible: one is missing, or
// would overtake an earlier message of its key.
func (d *doubt) first(msgs []slot) ([]slot, bool) {
	front := make([]slot, 0, len(msgs))
	var rest []slot
	for _, m := range msgs {
		open := len(front) < len(d.prints)
		switch {
		case open && fingerprint(m.msg) == d.prints[len(front)]:
			front = append(front, m)
		case open && m.msg.Key != nil && d.keys[string(m.msg.Key)]:
			return nil, false
		default:
			rest = append(rest, m)
		}
	}
	if len(front) < len(d.prints) {
		return nil, false
	}
	return append(front, rest...), true
}

func fingerprint(m *outbox.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(fingerprints)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(m.ID))) //nolint:gosec // any bits will do
	_, _ = h.Write(m.EventID[:])
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(m.Key))))
	_, _ = h.Write(m.Key)
	_, _ = h.Write(m.Value)
	return h.Sum64()
}
