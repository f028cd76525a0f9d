package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of database/sql

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/devpg"
)

const (
	// namePrefix begins the name of every database of a test run.
	namePrefix = "prefs_test_"
	// forgotten is the age at which a database on a server that outlives the
	// tests counts as left behind by a run that was killed.
	forgotten = 3 * time.Hour
	// maxConnections serves many parallel tests with a pool each.
	maxConnections = "300"
)

// server is where the databases of this test binary are made.
type server struct {
	base  *url.URL      // the URL of its maintenance database
	own   *devpg.Server // nil when it was given
	admin *sql.DB
	run   string // the prefix of this run's databases
	count atomic.Int64

	mu       sync.Mutex
	migrated string // the name of the template once it exists
}

// startServer connects to the server whose URL is given, or starts one of its own.
func startServer(ctx context.Context, given string) (*server, error) {
	s := &server{run: fmt.Sprintf("%s%d_%08x_", namePrefix, time.Now().Unix(), rand.Uint32())}
	if given == "" {
		own, err := devpg.Start(ctx, testOptions())
		if err != nil {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
		s.own, given = own, own.URL()
	}
	err := s.connect(ctx, given)
	if err == nil && s.own == nil {
		err = s.sweep(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

func testOptions() devpg.Options {
	return devpg.Options{
		BinDir: os.Getenv("PG_BIN_DIR"),
		Settings: map[string]string{
			"max_connections": maxConnections,
			// Checkpoints come with every clone; more of them only cost time.
			"checkpoint_timeout": "30min", "max_wal_size": "2GB",
		},
	}
}

func (s *server) connect(ctx context.Context, given string) error {
	base, err := url.Parse(given)
	if err != nil || base.Scheme != "postgres" && base.Scheme != "postgresql" {
		return errors.New("PREFS_TEST_DATABASE_URL is not a URL as in postgres://user@host:port/database") // and may hold a password
	}
	s.base = base
	if s.admin, err = sql.Open("pgx", base.String()); err != nil {
		return fmt.Errorf("open the test server: %w", err)
	}
	if err := s.admin.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the test server: %w", err)
	}
	return nil
}

// template returns the migrated database to clone from, built at first use.
func (s *server) template(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated != "" {
		return s.migrated, nil
	}
	name, err := s.create(ctx, "template0")
	if err != nil {
		return "", err
	}
	if err := migrateURL(ctx, s.urlOf(name)); err != nil {
		return "", err
	}
	// Nobody may connect any more: a database in use cannot be cloned.
	if _, err := s.admin.ExecContext(ctx, `alter database `+name+` allow_connections false`); err != nil {
		return "", fmt.Errorf("close the template: %w", err)
	}
	s.migrated = name
	return name, nil
}

func migrateURL(ctx context.Context, at string) (err error) {
	db, err := sql.Open("pgx", at)
	if err != nil {
		return fmt.Errorf("open the database to migrate: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = migrations.Up(ctx, db)
	return err
}

// create makes a database. Copying files is several times faster than writing
// the copy to the log, where nothing waits for the disk.
func (s *server) create(ctx context.Context, template string) (string, error) {
	name := s.run + strconv.FormatInt(s.count.Add(1), 10)
	if _, err := s.admin.ExecContext(ctx, `create database `+name+` template `+template+` strategy file_copy`); err != nil {
		return "", fmt.Errorf("create a database from %s: %w", template, err)
	}
	return name, nil
}

func (s *server) drop(ctx context.Context, name string) error {
	if _, err := s.admin.ExecContext(ctx, `drop database if exists `+name+` with (force)`); err != nil {
		return fmt.Errorf("drop a database: %w", err)
	}
	return nil
}

func (s *server) urlOf(database string) string {
	u := *s.base
	u.Path = "/" + database
	return u.String()
}

// sweep drops what killed runs have left on a server that outlives them.
func (s *server) sweep(ctx context.Context) error {
	rows, err := s.admin.QueryContext(ctx, `select datname from pg_database where starts_with(datname, $1)`, namePrefix)
	if err != nil {
		return fmt.Errorf("list old databases: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var old []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return fmt.Errorf("list old databases: %w", err)
		}
		if madeBefore(name, time.Now().Add(-forgotten)) {
			old = append(old, name)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list old databases: %w", err)
	}
	for _, name := range old {
		if err := s.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// madeBefore reads the time out of the name of a database.
func madeBefore(name string, limit time.Time) bool {
	stamp, _, _ := strings.Cut(strings.TrimPrefix(name, namePrefix), "_")
	made, err := strconv.ParseInt(stamp, 10, 64)
	return err == nil && made < limit.Unix()
}

func (s *server) close(ctx context.Context) error {
	var err error
	if s.migrated != "" && s.own == nil {
		err = s.drop(ctx, s.migrated)
	}
	if s.admin != nil {
		err = errors.Join(err, s.admin.Close())
	}
	if s.own != nil {
		err = errors.Join(err, s.own.Close())
	}
	return err
}
