package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/postgres"
)

// flow is how fast a backlog of the outbox can be worked off.
type flow struct {
	Rows        int64   `json:"rows"`
	PerSecond   float64 `json:"perSecond"`
	ReaderCPU   float64 `json:"readerCpuMicros"`   // a row, in this process
	PostgresCPU float64 `json:"postgresCpuMicros"` // a row
}

type drain struct {
	Relay flow `json:"relay"` // to a broker that costs nothing
	Floor flow `json:"floor"` // the same pages read, and thrown away
}

// drain fills the outbox and empties it twice.
func (m *machine) drain(ctx context.Context, rows int) (*drain, error) {
	progress("filling the outbox with %d rows", rows)
	for _, statement := range []string{
		"truncate outbox", "delete from outbox_relays", "set synchronous_commit = off", fmt.Sprintf(backlog, rows),
		"reset synchronous_commit", "vacuum analyze outbox", "checkpoint",
	} {
		if _, err := m.admin.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("fill the outbox: %w", err)
		}
	}
	var d drain
	err := m.flow(&d.Floor, func() (int64, error) { return m.readPages(ctx) })
	if err == nil {
		err = m.flow(&d.Relay, func() (int64, error) { return m.relay(ctx, int64(rows)) })
	}
	return &d, err
}

// backlog writes events as a save of one moved item does, ten a transaction.
const backlog = `do $$ begin for i in 1..%d / 10 loop
	insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, headers, payload)
	select gen_random_uuid(), 'list', 'user-' || (i * 7919 + g) %% 20000, i, 'preferences.updated', 'preferences.events',
		'[["ce_time", "MjAyNi0wMS0wMVQwMDowMDowMC4xMjM0NTZa"], ["traceparent", "MDAtNGJmOTJmMzU3N2IzNGRhNmEzY2U5MjlkMGUwZTQ3MzYtMDBmMDY3YWEwYmE5MDJiNy0wMQ=="]]',
		convert_to('{"eventId":"01990000-0000-7000-8000-000000000000","data":"' || repeat('x', 650) || '"}', 'UTF8')
	from generate_series(1, 10) g;
	commit; end loop; end $$`

func (m *machine) flow(into *flow, work func() (int64, error)) error {
	server, err := tree(m.postgresPID)
	if err != nil {
		return err
	}
	own, _, err := usage(os.Getpid())
	if err != nil {
		return err
	}
	begin := time.Now()
	n, err := work()
	if err != nil || n == 0 {
		return errors.Join(fmt.Errorf("%d rows were read", n), err)
	}
	took := time.Since(begin)
	serverAfter, err := tree(m.postgresPID)
	if err != nil {
		return err
	}
	ownAfter, _, err := usage(os.Getpid())
	*into = flow{
		Rows: n, PerSecond: float64(n) / took.Seconds(),
		ReaderCPU: float64((ownAfter - own).Microseconds()) / float64(n), PostgresCPU: float64((serverAfter - server).Microseconds()) / float64(n),
	}
	return err
}

// readPages reads a backlog as the relay does.
func (m *machine) readPages(ctx context.Context) (int64, error) {
	source, err := postgres.NewOutboxSource(m.server.URL(), "floor")
	if err != nil {
		return 0, err
	}
	defer source.Close() //nolint:contextcheck // it ends whatever became of ctx
	term, err := source.Claim(ctx, "bench", time.Minute)
	if err != nil {
		return 0, err
	}
	defer term.Close()
	cursor, _ := term.Start()
	const page, bytes = 2000, 16 << 20
	round, err := term.Round(ctx, cursor, outbox.Limit{Rows: page, Bytes: bytes})
	if err != nil {
		return 0, err
	}
	cursor.Window = round.Snapshot
	places, err := source.Window(ctx, cursor, 1<<20)
	var n int64
	for err == nil && len(places) > 0 {
		var rows []outbox.Row
		var covered int
		rows, covered, err = term.Rows(ctx, places[:min(page, len(places))], outbox.Limit{Rows: page, Bytes: bytes})
		n += int64(len(rows))
		places = places[covered:]
	}
	return n, err
}

// relay runs the relay until so many rows are out.
func (m *machine) relay(ctx context.Context, rows int64) (int64, error) {
	source, err := postgres.NewOutboxSource(m.server.URL(), "bench")
	if err != nil {
		return 0, err
	}
	defer source.Close() //nolint:contextcheck // as above
	to := &sink{missing: make(chan struct{})}
	to.left.Store(rows)
	r, err := outbox.New(source, to, outbox.Config{EventSource: "/prefsd/bench"}, slog.New(slog.DiscardHandler)) //nolint:contextcheck // instruments outlive ctx
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	select {
	case <-to.missing:
	case <-ctx.Done():
	}
	stop()
	return rows - to.left.Load(), <-ended
}

// sink is a broker of eight partitions that takes everything at once.
type sink struct {
	left    atomic.Int64
	missing chan struct{} // closed once nothing is
}

const sinkPartitions = 8

// Route implements outbox.Publisher.
func (s *sink) Route(_ context.Context, msgs []outbox.Message) []string {
	names := make([]string, len(msgs))
	for i := range msgs {
		names[i] = strconv.Itoa(int(msgs[i].Key[len(msgs[i].Key)-1]) % sinkPartitions)
	}
	return names
}

// Publish implements outbox.Publisher.
func (s *sink) Publish(_ context.Context, msgs []outbox.Message) []error {
	if n := int64(len(msgs)); n > 0 {
		if left := s.left.Add(-n); left <= 0 && left+n > 0 {
			close(s.missing)
		}
	}
	return make([]error, len(msgs))
}
