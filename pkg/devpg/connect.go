package devpg

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	superuser       = "prefs"
	defaultDatabase = "postgres"
	loopback        = "127.0.0.1"
	// passwordFile is kept in the data directory, so whoever may read the data
	// may read it too, and nobody else.
	passwordFile = "prefsd.password"
)

// password returns the password of the superuser.
func (d directory) password() string {
	text, err := os.ReadFile(filepath.Join(d.path, passwordFile))
	if err != nil {
		return "" // the server will say that it needs one
	}
	return strings.TrimSpace(string(text))
}

func connString(port int, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, password), Path: "/" + database, RawQuery: "sslmode=disable",
		Host: net.JoinHostPort(loopback, strconv.Itoa(port)),
	}
	return u.String()
}

// createDatabase makes a database unless it exists or is the one always there.
func createDatabase(ctx context.Context, admin, name string) error {
	if name == "" || name == defaultDatabase {
		return nil
	}
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connect to create the database %s: %w", name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, `select exists (select 1 from pg_database where datname = $1)`, name).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `create database `+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create the database %s: %w", name, err)
	}
	return nil
}
