package kafka

import (
	"context"
	"fmt"
	"math"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// producerIDs holds the producer id that the broker gave this process.
type producerIDs struct {
	client *Client

	mu      sync.Mutex
	current identity
	known   bool
}

// get returns the current producer id, and asks for another one when there is
// none or the current one is the one that is of no use any more.
func (p *producerIDs) get(ctx context.Context, useless identity) (identity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known && p.current.producer != useless.producer {
		return p.current, nil
	}
	id, err := p.client.initProducerID(ctx)
	if err != nil {
		return identity{}, err
	}
	p.current, p.known = id, true
	return id, nil
}

// initProducerID asks for an idempotent, not a transactional, producer. On a
// fresh cluster the coordinator needs a moment: those errors are temporary.
func (c *Client) initProducerID(ctx context.Context) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.transport.RoundTrip(ctx, c.addr, &initproducerid.Request{
		TransactionTimeoutMs: math.MaxInt16, ProducerID: -1, ProducerEpoch: -1,
	})
	if err != nil {
		return identity{}, fmt.Errorf("get a producer id: %w", err)
	}
	res, ok := r.(*initproducerid.Response)
	if !ok {
		return identity{}, fmt.Errorf("get a producer id: unexpected answer %T", r)
	}
	if res.ErrorCode != 0 {
		return identity{}, fmt.Errorf("get a producer id: %w", kafkago.Error(res.ErrorCode))
	}
	return identity{producer: res.ProducerID, epoch: res.ProducerEpoch}, nil
}
