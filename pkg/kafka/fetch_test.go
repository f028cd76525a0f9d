package kafka

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/stretchr/testify/require"
)

// logBatch is a batch as a broker stores it: records at base, base+1, ...
func logBatch(base, producer int64, transactional bool, values ...string) protocol.RecordReader {
	var records []protocol.Record
	for i, v := range values {
		records = append(records, protocol.Record{Offset: base + int64(i), Value: protocol.NewBytes([]byte(v))})
	}
	b := &protocol.RecordBatch{BaseOffset: base, ProducerID: producer, Records: protocol.NewRecordReader(records...)}
	if transactional {
		b.Attributes = protocol.Transactional
	}
	return b
}

func marker(offset, producer int64, commit int16) protocol.RecordReader {
	m := protocol.ControlRecord{Offset: offset, Type: commit}
	return &protocol.ControlBatch{
		Attributes: protocol.Control | protocol.Transactional,
		BaseOffset: offset, ProducerID: producer, Records: protocol.NewRecordReader(m.Record()),
	}
}

func answer(aborted []fetch.ResponseTransaction, batches ...protocol.RecordReader) *fetch.ResponsePartition {
	return &fetch.ResponsePartition{
		HighWatermark: 1000, LastStableOffset: 900, AbortedTransactions: aborted,
		RecordSet: protocol.RecordSet{Records: &protocol.RecordStream{Records: batches}},
	}
}

func TestAnAnswerIsDecoded(t *testing.T) {
	t.Parallel()
	const abort, commit = 0, 1
	for name, tt := range map[string]struct {
		from   int64
		answer *fetch.ResponsePartition
		values []string
		next   int64
	}{
		"nothing new": {from: 7, answer: answer(nil), next: 7},
		"from the middle of a batch": {
			from: 11, answer: answer(nil, logBatch(10, -1, false, "10", "11", "12"), logBatch(13, -1, false, "13")),
			values: []string{"11", "12", "13"}, next: 14,
		},
		"a gap that compaction made": {
			from: 10, answer: answer(nil, logBatch(15, -1, false, "15")), values: []string{"15"}, next: 16,
		},
		"a batch whose end compaction removed": {
			from: 12, answer: answer(nil, logBatch(10, -1, false, "10", "11")), next: 13,
		},
		"a batch that compaction emptied": {from: 12, answer: answer(nil, logBatch(10, -1, false)), next: 13},
		"only a marker":                   {from: 5, answer: answer(nil, marker(5, 1, commit)), next: 6},
		"aborted and committed, interleaved": {
			from: 0,
			answer: answer([]fetch.ResponseTransaction{{ProducerID: 1, FirstOffset: 0}, {ProducerID: 1, FirstOffset: 7}},
				logBatch(0, 1, true, "aborted", "aborted"), logBatch(2, 2, true, "2"), logBatch(3, -1, false, "3"),
				logBatch(4, 1, true, "aborted"), marker(5, 1, abort), logBatch(6, 1, true, "6"), // committed by what follows
				logBatch(7, 1, true, "aborted"), marker(8, 1, abort), marker(9, 2, commit)),
			values: []string{"2", "3", "6"}, next: 10,
		},
		"a plain record of a producer that aborts": {
			from:   0,
			answer: answer([]fetch.ResponseTransaction{{ProducerID: 1, FirstOffset: 0}}, logBatch(0, 1, false, "0")),
			values: []string{"0"}, next: 1,
		},
	} {
		got, err := decode(tt.answer, topicPartition{"topic", 3}, tt.from)
		require.NoError(t, err, name)
		var values []string
		for _, r := range got.records {
			require.Equal(t, "topic", r.Topic)
			require.Equal(t, 3, r.Partition)
			values = append(values, string(r.Value))
		}
		require.Empty(t, cmp.Diff(tt.values, values), name)
		require.Equal(t, tt.next, got.next, name)
		require.EqualValues(t, 900, got.visible, name)
	}
}

func TestAnErrorIsAnError(t *testing.T) {
	t.Parallel()
	got, err := decode(&fetch.ResponsePartition{ErrorCode: int16(kafkago.OffsetOutOfRange), HighWatermark: -1}, topicPartition{}, 5)
	require.ErrorIs(t, err, kafkago.OffsetOutOfRange)
	require.EqualValues(t, 5, got.next)
	require.EqualValues(t, -1, got.visible)

	broken := &protocol.ControlBatch{Records: protocol.NewRecordReader(protocol.Record{Offset: 5, Key: protocol.NewBytes([]byte("x"))})}
	_, err = decode(answer(nil, broken), topicPartition{}, 5)
	require.ErrorContains(t, err, "decode at offset 5")
	got, err = decode(answer(nil, logBatch(3, -1, false, "3", "4"), broken), topicPartition{}, 3)
	require.NoError(t, err, "what comes before is good")
	require.EqualValues(t, 5, got.next)
}

func TestOffsetsAreCommittedOnce(t *testing.T) {
	t.Parallel()
	o := newOffsets()
	a, b := topicPartition{"t", 0}, topicPartition{"t", 1}
	require.Empty(t, o.take())
	o.start(b, 40)
	o.mark(a, 1)
	o.mark(a, 2)
	<-o.marked
	require.Empty(t, o.marked, "several marks are one signal")
	batch := o.take()
	require.Equal(t, map[string]map[int]int64{"t": {0: 2}}, batch)
	require.Empty(t, o.take())

	o.mark(a, 3)
	o.giveBack(batch)
	require.Equal(t, map[string]map[int]int64{"t": {0: 3}}, o.take(), "what failed is not committed over what is newer")
	o.giveBack(batch)
	require.Equal(t, map[string]map[int]int64{"t": {0: 2}}, o.take())
	<-o.marked

	o.repeat()
	require.Equal(t, map[string]map[int]int64{"t": {0: 3, 1: 40}}, o.take(), "a repetition says where every partition is")

	elsewhere := topicPartition{"u", 0}
	o.mark(a, 4)
	o.mark(elsewhere, 9)
	o.doubt("t")
	o.mark(a, 5)
	o.giveBack(batch)
	o.repeat()
	require.Equal(t, map[string]map[int]int64{"u": {0: 9}}, o.take(), "nothing is said of a topic that may be another one, and was idle in part")
	o.start(a, 5)
	o.mark(a, 6)
	require.Equal(t, map[string]map[int]int64{"t": {0: 6}}, o.take())
}
