package kafka

import (
	"context"
	"fmt"
	"math"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// identity is what makes a batch recognisable to the broker when it comes a
// second time. Every partition has a producer id of its own, so that trouble
// in one does not change the epoch of another.
type identity struct {
	producer int64
	epoch    int16
	sequence int32 // of the first record
}

// nobody is the identity of a batch that has none yet. A zero value would not
// do: 0 is the first producer id of a new cluster.
var nobody = identity{producer: -1, epoch: -1, sequence: -1}

// after moves the sequence past n records; it wraps to 0.
func (id identity) after(n int) identity {
	id.sequence = int32((int64(id.sequence) + int64(n)) & math.MaxInt32)
	return id
}

// initProducerID asks for an idempotent, not a transactional, producer. On a
// fresh cluster the coordinator needs a moment: those errors are temporary.
func (c *Client) initProducerID(ctx context.Context) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.transport.RoundTrip(ctx, c.addr, &initproducerid.Request{
		TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1,
	})
	if err != nil {
		return nobody, fmt.Errorf("get a producer id: %w", err)
	}
	res, ok := r.(*initproducerid.Response)
	if !ok {
		return nobody, fmt.Errorf("get a producer id: unexpected answer %T", r)
	}
	if res.ErrorCode != 0 {
		return nobody, fmt.Errorf("get a producer id: %w", kafkago.Error(res.ErrorCode))
	}
	return identity{producer: res.ProducerID, epoch: res.ProducerEpoch}, nil
}
