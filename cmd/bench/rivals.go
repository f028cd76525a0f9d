package main

import (
	"context"
	"errors"
	"fmt"
)

// rival is another server of such lists, measured with the same clients.
type rival struct {
	name   string
	server *process
	// offers are the operations that it has, and how they are asked for; nil: as
	// prefsd's.
	offers map[string]preparation
}

// compared is what a rival did of an operation.
type compared struct {
	Name string `json:"name"`
	figures
}

// startRivals starts those that are asked for.
func (m *machine) startRivals(ctx context.Context, f flags) (all []rival, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, stopRivals(all))
		}
	}()
	if f.Naive {
		p, err := m.startNaive(ctx, f)
		if err != nil {
			return all, fmt.Errorf("naive: %w", err)
		}
		all = append(all, rival{name: "Echo and gorm", server: p})
	}
	if f.Kinto != "" {
		r, err := m.startKinto(ctx, f)
		if err != nil {
			return all, fmt.Errorf("kinto: %w", err)
		}
		all = append(all, r)
	}
	if f.PocketBase != "" {
		r, err := m.startPocketBase(ctx, f)
		if err != nil {
			return all, fmt.Errorf("pocketbase: %w", err)
		}
		all = append(all, r)
	}
	return all, nil
}

// ceilings are what a server reaches that runs one statement for an operation,
// and answers a constant: it asks nobody who he is, and reads no row.
func ceilings(server *process) []rival {
	return []rival{
		{name: "Echo and pgx, the SQL alone", server: server, offers: statements(map[string]string{opList: "list", opKnown: "head", opPatch: "patch", opUnchanged: "list"})},
		{name: "the same with history and outbox", server: server, offers: statements(map[string]string{opPatch: "rows"})},
	}
}

func statements(names map[string]string) map[string]preparation {
	offers := map[string]preparation{}
	for _, op := range operations() {
		if name, one := names[op.name]; one {
			offers[op.name] = func(ctx context.Context, c *client) (func() error, error) {
				c.statement = name
				return op.prepare(ctx, c)
			}
		}
	}
	return offers
}

func stopRivals(all []rival) error {
	errs := make([]error, 0, len(all))
	for _, r := range all {
		errs = append(errs, r.server.stop())
	}
	return errors.Join(errs...)
}

// versus measures an operation on every rival that has it.
func (m *machine) versus(ctx context.Context, all []rival, op operation, f flags) (out []compared, err error) {
	for _, r := range all {
		asked := op
		if r.offers != nil {
			asked.prepare = r.offers[op.name]
		}
		if asked.prepare == nil {
			continue
		}
		fig, err := m.load(ctx, r.server, asked, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		out = append(out, compared{r.name, fig})
	}
	return out, nil
}

// besideRivals are the lines of the table that compares prefsd with others. None
// of them keeps a history, sends events, or knows of deleted accounts.
func (r report) besideRivals() []string {
	lines := []string{"", "beside others\t\treq/s\tp50 ms\tp99 ms\tCPU µs\tprefsd's req/s to it\tCPU to it\t"}
	heading := len(lines)
	for _, x := range r.Rows {
		s := x.Service
		if len(x.Rivals) > 0 {
			lines = append(lines, fmt.Sprintf("%s\tprefsd\t%.0f\t%.2f\t%.2f\t%.0f\t\t\t", x.Operation, s.PerSecond, s.P50, s.P99, s.CPU))
		}
		for _, o := range x.Rivals {
			lines = append(lines, fmt.Sprintf("\t%s\t%.0f\t%.2f\t%.2f\t%.0f\t%.1f\t%.2f\t",
				o.Name, o.PerSecond, o.P50, o.P99, o.CPU, s.PerSecond/o.PerSecond, s.CPU/o.CPU))
		}
	}
	if len(lines) == heading {
		return nil
	}
	return lines
}
