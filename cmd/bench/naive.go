package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/auth"
)

// newDatabase makes a database on the same server and returns its address.
func (m *machine) newDatabase(ctx context.Context, name string) (string, error) {
	if _, err := m.admin.Exec(ctx, "create database "+name); err != nil {
		return "", err
	}
	database, err := url.Parse(m.server.URL())
	if err != nil {
		return "", err
	}
	database.Path = "/" + name
	return database.String(), nil
}

// startNaive starts the usual code of the same API and gives it the same lists.
func (m *machine) startNaive(ctx context.Context, f flags) (*process, error) {
	database, err := m.newDatabase(ctx, "naive")
	if err != nil {
		return nil, err
	}
	addr, _, err := freeAddrs(ctx)
	if err != nil {
		return nil, err
	}
	p, err := m.start(ctx, "naive", "github.com/prefsd/prefsd/cmd/bench/naive", "http://"+addr, "http://"+addr+"/readyz",
		"DATABASE_URL="+database, "HTTP_ADDR="+addr, "JWT_KEY_FILE="+m.keyFile, "JWT_ISSUER="+auth.DevIssuer, "JWT_AUDIENCE="+auth.DevAudience)
	if err != nil {
		return nil, err
	}
	if err := fillNaive(ctx, database, f); err != nil {
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
