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
	Time    time.Duration `default:"6s" help:"How long each operation runs."`
	Only    []string      `sep:"none" help:"Operations to measure; all by default."`
	Naive   bool          `default:"true" negatable:"" help:"Measure the usual Echo and gorm code as well."`
	JSON    bool          `help:"Print JSON instead of a table."`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Measure prefsd beside the floor of the same SQL and beside the usual Echo and gorm code."))
	ctx, stop := command.Context()
	err := run(ctx, f)
	stop()
	os.Exit(command.Exit("bench", err, command.Failed))
}

func run(ctx context.Context, f flags) (err error) {
	m, err := newMachine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close(ctx)) }()
	if err := m.seed(ctx, f.Lists, f.Items); err != nil {
		return err
	}
	report := report{Lists: f.Lists, Items: f.Items, Clients: f.Clients}
	if report.Rows, err = m.requests(ctx, f); err != nil {
		return err
	}
	if chosen(f.Only, "deletion") {
		if report.Deletions, err = m.deletions(ctx); err != nil {
			return fmt.Errorf("deletion: %w", err)
		}
	}
	if chosen(f.Only, "drain") {
		if report.Drain, err = m.drain(ctx, f.Backlog); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
	}
	report.Machine = describe()
	if f.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	return report.print(os.Stdout)
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
	naive, err := m.startNaive(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, naive.stop()) }()
	if err := m.greet(ctx, api, f); err != nil {
		return nil, err
	}
	for _, op := range ops {
		row, err := m.compare(ctx, api, ceiling, op, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
		if row.Naive, err = m.rival(ctx, naive, op, f); err != nil {
			return nil, fmt.Errorf("%s, naive: %w", op.name, err)
		}
		rows = append(rows, row)
		progress("%s done", op.name)
	}
	return rows, nil
}

func chosen(only []string, name string) bool { return len(only) == 0 || slices.Contains(only, name) }

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
