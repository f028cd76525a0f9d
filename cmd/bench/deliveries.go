package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// warm are the deletions before those that count: a consumer that starts joins
// its group first, which takes seconds.
const warm = 50

const (
	accountsTopic = "account.events"
	cleanedTopic  = "preferences.cleaned"
)

// deliveries are what the consumer makes of its owners' events.
type deliveries struct {
	Rate      int     `json:"rate"`      // deletions a second, each of an account that one user has listed
	P50       float64 `json:"p50Millis"` // from the deletion's acknowledgement by Kafka to preferences.cleaned at a consumer
	P99       float64 `json:"p99Millis"`
	PerSecond float64 `json:"perSecond"` // records of a backlog, of accounts that nobody has listed
	CPU       float64 `json:"cpuMicros"` // of the consumer, a record of the backlog
	Postgres  float64 `json:"postgresMicros"`
}

// deliveries measures the consumer, which is also the relay of what it says.
func (m *machine) deliveries(ctx context.Context, brokers []string, f flags) (d *deliveries, err error) {
	const rate = 50
	n := int(rate * f.Time.Seconds())
	if err := m.listOnce(ctx, warm+n); err != nil {
		return nil, err
	}
	p, err := m.startConsumer(ctx, brokersOf(brokers))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	d = &deliveries{Rate: rate}
	progress("deleting %d accounts that one user each has listed", n)
	if err := d.latency(ctx, producer, brokers, 0, warm); err != nil {
		return nil, err
	}
	if err := d.latency(ctx, producer, brokers, warm, n); err != nil {
		return nil, err
	}
	progress("a backlog of %d deletions", f.Records)
	return d, m.consumed(ctx, p, producer, f.Records, d)
}

// listOnce gives each of n users a list of an account that no other has.
func (m *machine) listOnce(ctx context.Context, n int) error {
	_, err := m.admin.Exec(ctx, fmt.Sprintf(`with l as (
		insert into preference_lists (user_id, domain, version) select 'single-' || g, 'accounts', 1 from generate_series(0, %d) g returning list_id, user_id)
		insert into preferences (id, list_id, entity_type, entity_id, position) select gen_random_uuid(), list_id, 'account', user_id, 1 from l`, n-1))
	return err
}

// deleted is the owner's event, as it is described in docs/events.md.
func deleted(account string) *kgo.Record {
	value := fmt.Sprintf(`{"eventType":"account.deleted","eventId":%q,"timestamp":%q,"data":{"accountId":%q}}`,
		uuid.NewString(), time.Now().UTC().Format(time.RFC3339Nano), account)
	return &kgo.Record{Topic: accountsTopic, Key: []byte(account), Value: []byte(value)}
}

// latency deletes n accounts, one after the other, and waits for what is said of
// each.
func (d *deliveries) latency(ctx context.Context, producer *kgo.Client, brokers []string, first, n int) error {
	cleaned, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(cleanedTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cleaned.Close()
	accounts := make([]string, n)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("single-%d", first+i)
	}
	var mu sync.Mutex
	sent := make(map[string]time.Time, n)
	failed := make(chan error, 1)
	go func() {
		begin := time.Now()
		for i, account := range accounts {
			pause(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(d.Rate))))
			err := producer.ProduceSync(ctx, deleted(account)).FirstErr()
			mu.Lock()
			sent[account] = time.Now()
			mu.Unlock()
			if err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	seen := make(map[string]time.Time, n)
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for len(seen) < n && within.Err() == nil {
		fetched := cleaned.PollFetches(within)
		now := time.Now()
		fetched.EachRecord(func(r *kgo.Record) {
			if account := cleanedAccount(r); slices.Contains(accounts, account) {
				seen[account] = now
			}
		})
	}
	if err := errors.Join(<-failed, within.Err()); err != nil {
		return fmt.Errorf("%d of %d accounts were cleaned: %w", len(seen), n, err)
	}
	late := make([]time.Duration, 0, n)
	for account, at := range sent {
		late = append(late, max(seen[account].Sub(at), 0))
	}
	fig := summarize(late, time.Second, 0, 0)
	d.P50, d.P99 = fig.P50, fig.P99
	return nil
}

func cleanedAccount(r *kgo.Record) string {
	var event struct {
		Data struct {
			EntityID string `json:"entityId"`
		} `json:"data"`
	}
	if err := json.Unmarshal(r.Value, &event); err != nil {
		return ""
	}
	return event.Data.EntityID
}

// consumed measures how fast records are worked off that nobody has to hear of.
func (m *machine) consumed(ctx context.Context, p *process, producer *kgo.Client, n int, d *deliveries) error {
	var known int
	if err := m.admin.QueryRow(ctx, "select count(*) from inbox").Scan(&known); err != nil {
		return err
	}
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = deleted(fmt.Sprintf("unlisted-%d", i))
	}
	before, err := m.reading(p)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	for seen := 0; seen < n; {
		pause(ctx, 50*time.Millisecond)
		if err := m.admin.QueryRow(ctx, "select count(*) - $1 from inbox", known).Scan(&seen); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	after, err := m.reading(p)
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	d.PerSecond, d.CPU, d.Postgres = float64(n)/took.Seconds(), micros(after.service-before.service), micros(after.postgres-before.postgres)
	return err
}
