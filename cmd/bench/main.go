// Command bench measures prefsd beside the floor of the same SQL, beside an Echo
// handler that returns a constant (cmd/bench/ceiling), and beside the usual Echo and gorm code of the same API (cmd/bench/naive): one run, one
// PostgreSQL, one machine, so that its ratios hold where absolute figures do
// not. It needs pgbench on the PATH or beside the PostgreSQL it finds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/prefsd/prefsd/pkg/command"
)

type flags struct {
	Lists   int           `default:"20000" help:"Lists in the database; the deletion touches all of them."`
	Items   int           `default:"20" help:"Items in each list."`
	Backlog int           `default:"100000" help:"Events in the outbox that the relay works off."`
	Active  int           `default:"1000" help:"Users that send requests; their tokens have been seen before."`
	Clients int           `default:"8" help:"Concurrent clients."`
	Rounds  int           `default:"3" help:"How often every side of an operation is measured in turn; the round that cost a side the least CPU counts."`
	Time    time.Duration `default:"3s" help:"How long each operation runs in a round."`
	Only    []string      `sep:"none" help:"Operations to measure; all by default."`
	Records int           `default:"20000" help:"Events of owners that the consumer works off."`
	Naive   bool          `default:"true" negatable:"" help:"Measure the usual Echo and gorm code as well."`
	JSON    bool          `help:"Print JSON instead of a table."`

	Kinto      string `help:"A directory with Kinto installed (bin/kinto, bin/gunicorn), to measure it as well."`
	PocketBase string `name:"pocketbase" help:"The program of cmd/bench/pocketbase, to measure it as well."`

	KafkaLibs    string `env:"KAFKA_LIBS" help:"Directory with the jars of Apache Kafka, for the operations relay and consumer, which run when they are named."`
	DebeziumLibs string `env:"DEBEZIUM_LIBS" help:"Directory with the jars of Debezium, to measure it beside the relay."`
}

// Operations beside the requests; the last two need Apache Kafka.
const (
	deletionBench = "deletion"
	drainBench    = "drain"
	relayBench    = "relay"
	consumerBench = "consumer"
)

// Validate refuses what would measure nothing, such as the name of no operation.
func (f flags) Validate() error {
	if f.Rounds < 1 {
		return fmt.Errorf("--rounds=%d measures nothing", f.Rounds)
	}
	known := []string{deletionBench, drainBench, relayBench, consumerBench}
	for _, op := range operations() {
		known = append(known, op.name)
	}
	for _, name := range f.Only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("--only=%q is none of %q", name, known)
		}
	}
	return nil
}

// asked says whether an operation was named.
func (f flags) asked(name string) bool { return slices.Contains(f.Only, name) }

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Measure prefsd beside the floor of the same SQL and beside the usual Echo and gorm code."))
	ctx, stop := command.Context()
	err := run(ctx, f)
	stop()
	os.Exit(command.Exit("bench", err, command.Failed))
}

func run(ctx context.Context, f flags) (err error) {
	m, err := newMachine(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close(ctx)) }()
	r := report{Lists: f.Lists, Items: f.Items, Clients: f.Clients}
	for _, part := range []struct {
		name    string
		measure func(context.Context, flags, *report) error
	}{{"lists", m.lists}, {"drain", m.backlog}, {"kafka", m.kafka}} {
		if err := part.measure(ctx, f, &r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	r.Machine = describe()
	if f.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.print(os.Stdout)
}

// lists measures what needs lists.
func (m *machine) lists(ctx context.Context, f flags, r *report) (err error) {
	requests := slices.ContainsFunc(operations(), func(op operation) bool { return chosen(f.Only, op.name) })
	if err := m.migrate(ctx); err != nil {
		return err
	}
	if !requests && !chosen(f.Only, deletionBench) {
		return nil
	}
	if err := m.seed(ctx, f.Lists, f.Items); err != nil {
		return err
	}
	if r.Rows, err = m.requests(ctx, f); err != nil || !chosen(f.Only, deletionBench) {
		return err
	}
	r.Deletions, r.Reader, err = m.deletions(ctx, f)
	return err
}

func (m *machine) backlog(ctx context.Context, f flags, r *report) (err error) {
	if chosen(f.Only, drainBench) {
		r.Drain, err = m.drain(ctx, f.Backlog)
	}
	return err
}

// kafka measures what needs a broker.
func (m *machine) kafka(ctx context.Context, f flags, r *report) (err error) {
	if !f.asked(relayBench) && !f.asked(consumerBench) {
		return nil
	}
	if f.KafkaLibs == "" {
		return errors.New("--kafka-libs or KAFKA_LIBS must say where Apache Kafka is; make kafka-libs fetches it")
	}
	brokers, stop, err := m.startKafka(ctx, f.KafkaLibs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if f.asked(relayBench) {
		if r.Relays, err = m.relays(ctx, brokers, f); err != nil {
			return err
		}
	}
	if f.asked(consumerBench) {
		r.Deliveries, err = m.deliveries(ctx, brokers, f)
	}
	return err
}

// requests measures the operations over HTTP.
func (m *machine) requests(ctx context.Context, f flags) (rows []row, err error) {
	ops := slices.DeleteFunc(operations(), func(op operation) bool { return !chosen(f.Only, op.name) })
	if len(ops) == 0 {
		return nil, nil
	}
	api, err := m.startAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, api.stop()) }()
	ceiling, err := m.startCeiling(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ceiling.stop()) }()
	others, err := m.startRivals(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopRivals(others)) }()
	if err := m.greet(ctx, api, f); err != nil {
		return nil, err
	}
	all := append(ceilings(ceiling), others...)
	for _, op := range ops {
		var best row
		for range f.Rounds {
			row, err := m.compare(ctx, api, ceiling, op, f)
			if err == nil {
				row.Rivals, err = m.versus(ctx, all, op, f)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op.name, err)
			}
			best = best.calmer(row)
		}
		rows = append(rows, best)
		progress("%s done", op.name)
	}
	return rows, nil
}

func chosen(only []string, name string) bool { return len(only) == 0 || slices.Contains(only, name) }

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
