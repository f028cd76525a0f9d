package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/postgres"
)

// stream is how late events come to a consumer while so many are committed.
type stream struct {
	Rate     int     `json:"rate"`    // asked for
	Written  float64 `json:"written"` // commits a second
	P50      float64 `json:"p50Millis"`
	P99      float64 `json:"p99Millis"`
	CPU      float64 `json:"cpuMicros"`      // of the relay's process, an event
	Postgres float64 `json:"postgresMicros"` // PostgreSQL's, an event, with the commit itself
}

// relaying is what one relay does with prefsd's outbox.
type relaying struct {
	Name    string   `json:"name"`
	Streams []stream `json:"streams"`
	Drained float64  `json:"drainedPerSecond"` // of a backlog
	CPU     float64  `json:"drainCpuMicros"`   // of the relay's process, an event
}

// rates are how many saves a second a deployment may see.
var rates = []int{500, 2000}

const eventsTopic = "preferences.events"

// relays measures relays on one outbox, one PostgreSQL and one Apache Kafka, one
// after the other: none at all, prefsd's, and Debezium's if its jars are there.
func (m *machine) relays(ctx context.Context, brokers []string, f flags) (out []relaying, err error) {
	a, err := newArrivals(brokers, eventsTopic) //nolint:contextcheck // it ends with its client
	if err != nil {
		return nil, err
	}
	defer a.close()
	r, err := m.unrelayed(ctx, brokers, a, f)
	if err != nil {
		return nil, fmt.Errorf("without a relay: %w", err)
	}
	out = append(out, r)
	own := func() (*process, error) { return m.startAPI(ctx, "PREFS_RELAY=on", brokersOf(brokers)) }
	if r, err = m.relaying(ctx, "prefsd", own, a, f); err != nil {
		return nil, fmt.Errorf("prefsd: %w", err)
	}
	out = append(out, r)
	if f.DebeziumLibs == "" {
		return out, nil
	}
	for _, poll := range []string{"10", "500"} { // the second is its default
		peer := func() (*process, error) { return m.startDebezium(ctx, brokers, f.DebeziumLibs, poll) }
		if r, err = m.relaying(ctx, "Debezium, polling every "+poll+" ms", peer, a, f); err != nil {
			return nil, fmt.Errorf("debezium: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

func brokersOf(brokers []string) string { return "PREFS_KAFKA_BROKERS=" + brokers[0] }

// relaying starts a relay, lets it keep up with commits, and then with a backlog.
func (m *machine) relaying(ctx context.Context, name string, start func() (*process, error), a *arrivals, f flags) (r relaying, err error) {
	r.Name = name
	if _, err := m.admin.Exec(ctx, "truncate outbox"); err != nil {
		return r, err
	}
	p, err := start()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	poke, stop, err := m.notify(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if r.Streams, err = m.streams(ctx, name, p, a, f.Time, func(int) { poke() }); err != nil {
		return r, err
	}
	progress("%s: a backlog of %d events", name, f.Backlog)
	return r, m.drained(ctx, p, a, f.Backlog, &r)
}

// notify returns what tells relays of a commit, as api processes do.
func (m *machine) notify(ctx context.Context) (poke func(), stop func() error, err error) {
	notifier, err := postgres.NewNotifier(m.server.URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- notifier.Run(ctx) }()
	return notifier.Poke, func() error { cancel(); return <-ended }, nil
}

// unrelayed measures what no relay can better: every writer publishes its event
// itself as soon as it has committed. Events of writers that die between are lost,
// and those of two writers may be swapped.
func (m *machine) unrelayed(ctx context.Context, brokers []string, a *arrivals, f flags) (r relaying, err error) {
	r.Name = "no relay, writers publish"
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(0), kgo.DefaultProduceTopic(eventsTopic))
	if err != nil {
		return r, err
	}
	defer client.Close()
	publish := func(n int) {
		id := kgo.RecordHeader{Key: "ce_id", Value: []byte(numbered(n).String())}
		client.Produce(ctx, &kgo.Record{Key: []byte(subject(n)), Value: payload, Headers: []kgo.RecordHeader{id}}, nil) // what fails never arrives
	}
	r.Streams, err = m.streams(ctx, r.Name, nil, a, f.Time, publish)
	return r, err
}

// streams measures every rate, once everything is warm: Java's compiler, too.
func (m *machine) streams(ctx context.Context, name string, p *process, a *arrivals, during time.Duration, tell func(n int)) (out []stream, err error) {
	if _, err := m.stream(ctx, p, a, rates[0], during, tell); err != nil {
		return nil, err
	}
	for _, rate := range rates {
		progress("%s: %d commits a second", name, rate)
		s, err := m.stream(ctx, p, a, rate, during, tell)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// stream commits events at a steady rate and waits until all have arrived.
func (m *machine) stream(ctx context.Context, p *process, a *arrivals, rate int, during time.Duration, tell func(n int)) (stream, error) {
	n := int(float64(rate) * during.Seconds())
	before, err := m.reading(p)
	if err != nil {
		return stream{}, err
	}
	committed := make([]time.Time, n)
	first := a.expect(n)
	begin := time.Now()
	if err := m.commit(ctx, first, rate, committed, tell); err != nil {
		return stream{}, err
	}
	took := time.Since(begin)
	arrived, err := a.wait(ctx)
	if err != nil {
		return stream{}, err
	}
	after, err := m.reading(p)
	if err != nil {
		return stream{}, err
	}
	late := make([]time.Duration, n)
	for i := range late {
		late[i] = max(arrived[i].Sub(committed[i]), 0) // it may be there before the writer has its answer
	}
	fig := summarize(late, took, after.service-before.service, after.postgres-before.postgres)
	return stream{Rate: rate, Written: fig.PerSecond, P50: fig.P50, P99: fig.P99, CPU: fig.ServiceCPU, Postgres: fig.CPU - fig.ServiceCPU}, nil
}

// insertEvent writes what a save of one moved item does.
const insertEvent = `insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, headers, payload)
	values ($1, 'list', $2, $3, 'preferences.updated', '` + eventsTopic + `', '[["ce_time", "MjAyNi0wMS0wMVQwMDowMDowMC4xMjM0NTZa"]]', $4)`

// commit is what many api processes do: one transaction for each event, of which
// somebody is told.
func (m *machine) commit(ctx context.Context, first, rate int, committed []time.Time, tell func(n int)) error {
	const writers = 8
	w := writer{first: first, rate: rate, of: writers, begin: time.Now(), committed: committed, tell: tell}
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs[i] = w.write(ctx, m.server.URL(), i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// payload is as large as that of a save of one moved item.
var payload = []byte(`{"eventId":"01990000-0000-7000-8000-000000000000","data":"` + strings.Repeat("x", 650) + `"}`)

// subject is the list of a numbered event.
func subject(n int) string {
	const users = 5000
	return fmt.Sprintf("user-%d", n%users)
}

// writer commits every so-manieth event when its time has come.
type writer struct {
	first, rate, of int
	begin           time.Time
	committed       []time.Time
	tell            func(n int)
}

func (w writer) write(ctx context.Context, url string, at int) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for i := at; i < len(w.committed); i += w.of {
		pause(ctx, time.Until(w.begin.Add(time.Duration(i)*time.Second/time.Duration(w.rate))))
		n := w.first + i
		if _, err := conn.Exec(ctx, insertEvent, numbered(n), subject(n), n, payload); err != nil {
			return err
		}
		w.committed[i] = time.Now()
		w.tell(n)
	}
	return nil
}

// pause returns early if ctx ends, which the next statement will notice.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// numbered is an event's id that says which one it is.
func numbered(n int) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[8:], uint64(n)) //nolint:gosec // it counts up
	return id
}

// backlogOf is backlog with ids that say which event it is.
const backlogOf = `do $$ begin for i in 0..%[2]d / 10 - 1 loop
	insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, headers, payload)
	select lpad(to_hex(%[1]d + i * 10 + g), 32, '0')::uuid, 'list', 'user-' || (i * 7919 + g) %% 20000, i, 'preferences.updated', '` + eventsTopic + `',
		'[["ce_time", "MjAyNi0wMS0wMVQwMDowMDowMC4xMjM0NTZa"]]',
		convert_to('{"eventId":"01990000-0000-7000-8000-000000000000","data":"' || repeat('x', 650) || '"}', 'UTF8')
	from generate_series(0, 9) g;
	commit; end loop; end $$`

// drained stops the relay's process, lets events pile up, and wakes it.
func (m *machine) drained(ctx context.Context, p *process, a *arrivals, rows int, r *relaying) error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	first := a.expect(rows)
	_, failed := m.admin.Exec(ctx, fmt.Sprintf(backlogOf, first, rows))
	before, _, err := usage(p.cmd.Process.Pid)
	if err := errors.Join(failed, err, p.cmd.Process.Signal(syscall.SIGCONT)); err != nil {
		return err
	}
	begin := time.Now()
	if _, err := a.wait(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	after, _, err := usage(p.cmd.Process.Pid)
	r.Drained, r.CPU = float64(rows)/took.Seconds(), float64((after-before).Microseconds())/float64(rows)
	return err
}

//go:embed debezium/OutboxRelay.java
var debeziumSource []byte

// startDebezium starts the relay of cmd/bench/debezium and waits for its slot.
func (m *machine) startDebezium(ctx context.Context, brokers []string, libs, poll string) (*process, error) {
	if _, err := m.admin.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'debezium'"); err != nil {
		return nil, err
	}
	source := filepath.Join(m.dir, "OutboxRelay.java")
	if err := os.WriteFile(source, debeziumSource, 0o600); err != nil {
		return nil, err
	}
	conn := m.admin.Config()
	p, err := spawn(ctx, nil, "java", "-Xmx512m", "-cp", filepath.Join(libs, "*"), source, brokers[0],
		conn.Host, strconv.Itoa(int(conn.Port)), conn.User, conn.Password, conn.Database, poll)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for active := false; !active; {
		pause(within, 100*time.Millisecond)
		err := m.admin.QueryRow(within, "select exists (select 1 from pg_replication_slots where slot_name = 'debezium' and active)").Scan(&active)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("debezium does not take its slot: %w", err), p.stop())
		}
	}
	return p, nil
}
