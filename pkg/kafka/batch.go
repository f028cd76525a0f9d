package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"

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
	batchOverhead    = 65
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode renders msgs as one record batch of nobody, with its size in front.
func encode(msgs []slot) ([]byte, error) {
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
	buf.Grow(size + batchOverhead)
	if _, err := set.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("encode a batch of %d records: %w", len(msgs), err)
	}
	return buf.Bytes(), nil
}

// stamp writes id into an encoded batch.
func stamp(raw []byte, id identity) {
	body := raw[sizePrefix:]
	binary.BigEndian.PutUint64(body[producerIDOffset:], uint64(id.producer)) //nolint:gosec // two's complement is the wire format
	binary.BigEndian.PutUint16(body[epochOffset:], uint16(id.epoch))         //nolint:gosec // as above
	binary.BigEndian.PutUint32(body[sequenceOffset:], uint32(id.sequence))   //nolint:gosec // as above
	binary.BigEndian.PutUint32(body[crcOffset:], crc32.Checksum(body[attributesOffset:], castagnoli))
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

// batch is what one produce request carries. Its bytes never change once they
// are sent, because an attempt that timed out may still be sending them.
type batch struct {
	raw     []byte
	records int
	id      identity
	sent    bool // under id, and perhaps written

	// What it holds, for a batch that outlives its call.
	prints []uint64
	keys   map[string]bool
}

func newBatch(msgs []slot) (*batch, error) {
	raw, err := encode(msgs)
	if err != nil {
		return nil, err
	}
	return &batch{raw: raw, records: len(msgs), id: nobody}, nil
}

// under gives the batch an identity. Bytes that were sent before are not
// touched, see batch.
func (b *batch) under(id identity) {
	if b.id != nobody {
		b.raw = bytes.Clone(b.raw)
	}
	b.id, b.sent = id, true
	stamp(b.raw, id)
}

// remember notes which messages the batch holds, without their bytes.
func (b *batch) remember(msgs []slot) {
	b.prints, b.keys = make([]uint64, len(msgs)), map[string]bool{}
	for i, m := range msgs {
		b.prints[i] = fingerprint(m.msg)
		if m.msg.Key != nil {
			b.keys[string(m.msg.Key)] = true
		}
	}
}

// first puts the messages of the batch in front of msgs, so that it can be sent
// again. It reports false when that is impossible: one of them is missing, or
// would overtake an earlier message of its key.
func (b *batch) first(msgs []slot) ([]slot, bool) {
	front := make([]slot, 0, len(msgs))
	var rest []slot
	for _, m := range msgs {
		open := len(front) < len(b.prints) // whether some are still to come
		switch {
		case open && fingerprint(m.msg) == b.prints[len(front)]:
			front = append(front, m)
		case open && m.msg.Key != nil && b.keys[string(m.msg.Key)]:
			return nil, false
		default:
			rest = append(rest, m)
		}
	}
	if len(front) < len(b.prints) {
		return nil, false
	}
	return append(front, rest...), true
}

var fingerprints = maphash.MakeSeed()

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
