package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/auth"
)

// naiveDatabase is that of the usual code, on the same server.
const naiveDatabase = "naive"

// startNaive starts the usual code of the same API and gives it the same lists.
// There is none if it is not asked for.
func (m *machine) startNaive(ctx context.Context, f flags) (*process, error) {
	if !f.Naive {
		return nil, nil
	}
	if _, err := m.admin.Exec(ctx, "create database "+naiveDatabase); err != nil {
		return nil, err
	}
	database, err := url.Parse(m.server.URL())
	if err != nil {
		return nil, err
	}
	database.Path = "/" + naiveDatabase
	addr, _, err := freeAddrs(ctx)
	if err != nil {
		return nil, err
	}
	p, err := m.start(ctx, "naive", "github.com/prefsd/prefsd/cmd/bench/naive", "http://"+addr, "http://"+addr+"/readyz",
		"DATABASE_URL="+database.String(), "HTTP_ADDR="+addr, "JWT_KEY_FILE="+m.keyFile, "JWT_ISSUER="+auth.DevIssuer, "JWT_AUDIENCE="+auth.DevAudience)
	if err != nil {
		return nil, err
	}
	if err := fillNaive(ctx, database.String(), f); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// fillNaive copies no rows from one database to the other: the same statement
// makes the same items, under the same ids.
func fillNaive(ctx context.Context, database string, f flags) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range []string{
		fmt.Sprintf(`insert into preferences (id, user_id, domain, entity_type, entity_id, sort_order, attributes, version, created_at, updated_at)
			select ('01990000-0000-7000-8000-' || lpad(to_hex(u * 64 + g), 12, '0'))::uuid, 'user-' || u, 'accounts', 'account', 'acc-' || g, g, '%s', 1, now(), now()
			from generate_series(1, %d) u, generate_series(1, %d) g order by u, g`, label, f.Lists, f.Items),
		"vacuum analyze", "checkpoint",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("seed the naive database: %w", err)
		}
	}
	return nil
}

// rival measures an operation on the usual code, if that runs.
func (m *machine) rival(ctx context.Context, naive *process, op operation, f flags) (*figures, error) {
	if naive == nil {
		return nil, nil
	}
	fig, err := m.load(ctx, naive, op, f)
	return &fig, err
}

// besideNaive are the lines of the table that compares prefsd with the usual
// code. That keeps no history and sends no events.
func (r report) besideNaive() []string {
	lines := []string{"", "beside Echo and gorm\treq/s\tp50 ms\tp99 ms\tCPU µs\tnaive req/s\tp50 ms\tp99 ms\tCPU µs\treq/s ratio\tCPU ratio\t"}
	heading := len(lines)
	for _, x := range r.Rows {
		if x.Naive == nil {
			continue
		}
		s, n := x.Service, x.Naive
		lines = append(lines, fmt.Sprintf("%s\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.2f\t%.2f\t%.0f\t%.1f\t%.2f\t",
			x.Operation, s.PerSecond, s.P50, s.P99, s.CPU, n.PerSecond, n.P50, n.P99, n.CPU, s.PerSecond/n.PerSecond, s.CPU/n.CPU))
	}
	if len(lines) == heading {
		return nil
	}
	return lines
}
