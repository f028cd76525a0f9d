package kafka

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

func slotsOf(msgs ...outbox.Message) []slot {
	slots := make([]slot, len(msgs))
	for i := range msgs {
		slots[i] = slot{msg: &msgs[i], result: new(error)}
	}
	return slots
}

// named returns messages whose names are their keys and running numbers.
func named(names ...string) []slot {
	msgs := make([]outbox.Message, len(names))
	for i, name := range names {
		msgs[i] = outbox.Message{EventID: uuid.NewSHA1(uuid.Nil, []byte(name)), Value: []byte(name)}
		if key := strings.TrimRight(name, "0123456789"); key != "" {
			msgs[i].Key = []byte(key)
		}
	}
	return slotsOf(msgs...)
}

func namesOf(slots []slot) []string {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = string(s.msg.Value)
	}
	return names
}

// parse decodes a batch with the library, which checks its checksum.
func parse(t *testing.T, raw []byte) *protocol.RecordBatch {
	t.Helper()
	var set protocol.RecordSet
	_, err := set.ReadFrom(bytes.NewReader(raw))
	require.NoError(t, err)
	stream, ok := set.Records.(*protocol.RecordStream)
	require.True(t, ok)
	require.Len(t, stream.Records, 1)
	b, ok := stream.Records[0].(*protocol.RecordBatch)
	require.True(t, ok)
	return b
}

func TestABatchCarriesItsIdentity(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 5000} { // plain and compressed
		msgs := slotsOf(outbox.Message{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), size)}, outbox.Message{})
		b, err := newBatch(msgs)
		require.NoError(t, err)
		id := identity{producer: math.MaxInt64 - 1, epoch: 321, sequence: math.MaxInt32}
		b.under(id)

		got := parse(t, b.raw)
		require.Equal(t, id, identity{producer: got.ProducerID, epoch: got.ProducerEpoch, sequence: got.BaseSequence})
		require.Equal(t, size > compressFrom, got.Attributes.Compression() != 0)
		require.Less(t, len(b.raw), sizeOf(msgs[0].msg)+sizeOf(msgs[1].msg)+batchOverhead)
	}
}

func TestSentBytesDoNotChange(t *testing.T) {
	t.Parallel()
	b, err := newBatch(named("a1", "a2"))
	require.NoError(t, err)
	b.under(identity{}) // 0 is the first producer id of a cluster
	sent := b.raw
	before := bytes.Clone(sent)
	b.under(identity{producer: 7, epoch: 1, sequence: 2})
	require.Equal(t, before, sent)
	require.NotEqual(t, before, b.raw)
	require.EqualValues(t, 7, parse(t, b.raw).ProducerID)
}

func TestSequencesWrap(t *testing.T) {
	t.Parallel()
	id := identity{producer: 1, epoch: 2, sequence: math.MaxInt32 - 1}
	require.Equal(t, identity{1, 2, math.MaxInt32}, id.after(1))
	require.Equal(t, identity{1, 2, 0}, id.after(2))
	require.Equal(t, identity{1, 2, 998}, id.after(1000))
}

// TestABatchInDoubtGoesFirst: what an earlier call left without an answer can
// only be recognised as the same batch, and must not overtake its key.
func TestABatchInDoubtGoesFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		batch, call, want string
	}{
		{"a1 b1", "a1 b1", "a1 b1"},
		{"a1 b1", "a1 b1 a2 c1", "a1 b1 a2 c1"},
		{"a1 b1", "c1 a1 c2 b1 a2", "a1 b1 c1 c2 a2"},
		{"a1 b1", "c1 d1 a1 b1", "a1 b1 c1 d1"},
		{"a1 1", "2 a1 3 1", "a1 1 2 3"}, // records without a key have no order
		{"a1 b1", "a1", ""},
		{"a1 b1", "b1 a1", ""},
		{"a1 b1", "a0 a1 b1", ""},
		{"a1 b1", "a1 b0 b1", ""},
		{"a1 b1", "c1", ""},
		{"a1 b1", "", ""},
	} {
		msgs := named(strings.Fields(tt.batch)...)
		b, err := newBatch(msgs)
		require.NoError(t, err)
		b.remember(msgs)
		got, ok := b.first(named(strings.Fields(tt.call)...))
		require.Equal(t, tt.want != "", ok, "%+v", tt)
		if ok {
			require.Equal(t, strings.Fields(tt.want), namesOf(got), "%+v", tt)
		}
	}
}

func TestMessagesAreToldApart(t *testing.T) {
	t.Parallel()
	base := outbox.Message{ID: 1, EventID: uuid.New(), Key: []byte("ab"), Value: []byte("c")}
	same := base
	require.Equal(t, fingerprint(&base), fingerprint(&same))
	for name, change := range map[string]func(*outbox.Message){
		"id":     func(m *outbox.Message) { m.ID++ },
		"event":  func(m *outbox.Message) { m.EventID = uuid.New() },
		"key":    func(m *outbox.Message) { m.Key = []byte("xb") },
		"value":  func(m *outbox.Message) { m.Value = nil },
		"border": func(m *outbox.Message) { m.Key, m.Value = []byte("a"), []byte("bc") },
	} {
		other := base
		change(&other)
		require.NotEqual(t, fingerprint(&base), fingerprint(&other), name)
	}
}

func TestALaneCutsBySizeAndNumber(t *testing.T) {
	t.Parallel()
	l := newLane(&Publisher{cfg: PublisherConfig{BatchBytes: 1000, BatchRecords: 4}}, topicPartition{})
	small := func(n int) []slot {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("a%d", i))
		}
		return named(names...)
	}
	big := slotsOf(outbox.Message{Value: make([]byte, 5000)})
	require.Equal(t, 3, l.cut(small(3)))
	require.Equal(t, 4, l.cut(small(5)))
	require.Equal(t, 1, l.cut(big), "one that is too big goes alone")
	require.Equal(t, 2, l.cut(append(small(2), big...)))
	require.Equal(t, 1, l.cut(append(big, small(2)...)))
}
