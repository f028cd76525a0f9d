package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest" //nolint:depguard // it starts a broker here, and the bench is not deployed
)

// startKafka starts an Apache Kafka of one node with the topics that prefsd needs.
func (m *machine) startKafka(ctx context.Context, libs string) (brokers []string, stop func() error, err error) {
	progress("starting Apache Kafka")
	broker, err := kafkatest.StartApache(ctx, kafkatest.ApacheOptions{Libs: libs, Dir: m.dir})
	if err != nil {
		return nil, nil, err
	}
	client, err := kafka.Open(kafka.Config{Brokers: broker.Addrs(), ClientID: "bench"})
	if err != nil {
		return nil, nil, errors.Join(err, broker.Close())
	}
	defer func() { _ = client.Close() }()
	var specs []kafka.TopicSpec
	for _, name := range []string{eventsTopic, cleanedTopic, accountsTopic, "user.events", "preferences.dead-letters"} {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: 6, ReplicationFactor: 1})
	}
	if _, err = client.EnsureTopics(ctx, specs); err != nil {
		return nil, nil, errors.Join(err, broker.Close())
	}
	return broker.Addrs(), broker.Close, nil
}

// arrivals are the times at which a consumer of a topic has seen numbered events.
type arrivals struct {
	client *kgo.Client
	ended  chan struct{}

	mu    sync.Mutex
	first int         // number of the first one that is expected
	times []time.Time // of those that are
	left  int
	all   chan struct{} // closed once none is left
	next  int
}

func newArrivals(brokers []string, topic string) (*arrivals, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	a := &arrivals{client: client, ended: make(chan struct{}), next: 1}
	go a.consume()
	return a, nil
}

func (a *arrivals) close() {
	a.client.Close()
	<-a.ended
}

func (a *arrivals) consume() {
	defer close(a.ended)
	for {
		fetched := a.client.PollFetches(context.Background()) // it ends with the client
		if fetched.IsClientClosed() {
			return
		}
		now := time.Now()
		a.mu.Lock()
		fetched.EachRecord(func(r *kgo.Record) { a.seen(number(r), now) })
		a.mu.Unlock()
	}
}

// number is what numbered has put into the id of an event.
func number(r *kgo.Record) int {
	for _, h := range r.Headers {
		if h.Key == "ce_id" || h.Key == "id" {
			if id, err := uuid.Parse(strings.Trim(string(h.Value), `"`)); err == nil {
				return int(binary.BigEndian.Uint64(id[8:])) //nolint:gosec // it was an int
			}
		}
	}
	return -1
}

// seen notes the first time that an event is there; events may come twice.
func (a *arrivals) seen(n int, at time.Time) {
	i := n - a.first
	if i < 0 || i >= len(a.times) || !a.times[i].IsZero() {
		return
	}
	a.times[i] = at
	if a.left--; a.left == 0 {
		close(a.all)
	}
}

// expect says that so many events will come, and returns the number of the first.
func (a *arrivals) expect(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first, a.times, a.left, a.all = a.next, make([]time.Time, n), n, make(chan struct{})
	a.next += n
	return a.first
}

// wait returns when each of the expected events came.
func (a *arrivals) wait(ctx context.Context) ([]time.Time, error) {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-a.all:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left > 0 {
		return nil, fmt.Errorf("%d of %d events never came", a.left, len(a.times))
	}
	return a.times, nil
}
