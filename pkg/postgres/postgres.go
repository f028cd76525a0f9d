// Package postgres keeps everything in PostgreSQL. Lists and the protocols
// around them go through named statements in pgx batches on gorm's pool; gorm
// itself serves the plain tables. It is the only package of the product that
// knows a column.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	driver "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// Config says where the database is and how to use it.
type Config struct {
	URL       string // a connection string of PostgreSQL, direct or session-pooled
	MaxConns  int    // default 16
	Cache     int    // bytes for the lists that were used last; 0: none
	Announcer preferences.Announcer
	Now       func() time.Time // default: time.Now
	Tracer    pgx.QueryTracer  // optional
}

// Tracer makes a span of each statement, without its parameters, that runs inside
// another span. It is nil if traces is.
func Tracer(traces trace.TracerProvider) pgx.QueryTracer {
	if traces == nil {
		return nil
	}
	return otelpgx.NewTracer(otelpgx.WithTracerProvider(traces), otelpgx.WithMeterProvider(noop.NewMeterProvider()),
		otelpgx.WithDisableConnectionDetailsInAttributes())
}

// limit bounds one call's work on its connection, however long its caller
// stays. It is above statement_timeout, so that the server speaks first.
const limit = 8 * time.Second

// settings are those that every statement relies on.
var settings = map[string]string{
	"default_transaction_isolation":       "read committed",
	"plan_cache_mode":                     "force_generic_plan",
	"lock_timeout":                        "3s",
	"statement_timeout":                   "5s",
	"idle_in_transaction_session_timeout": "10s",
	"timezone":                            "UTC",
}

// Store implements preferences.Store on PostgreSQL.
type Store struct {
	db        *gorm.DB
	pool      *sql.DB
	announcer preferences.Announcer
	now       func() time.Time
	committed func()
	lists     *listCache
}

var _ preferences.Store = (*Store)(nil)

// Open prepares a pool; it connects when it is used. The schema must be
// migrated by then.
func Open(cfg Config) (*Store, error) {
	conn, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", redact(err))
	}
	for name, value := range settings {
		conn.RuntimeParams[name] = value
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "prefsd"
	}
	conn.Tracer = cfg.Tracer
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 16
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	pool := sql.OpenDB(steady{stdlib.GetConnector(*conn)})
	pool.SetMaxOpenConns(cfg.MaxConns)
	pool.SetMaxIdleConns(cfg.MaxConns)
	db, err := gorm.Open(driver.New(driver.Config{Conn: pool}), &gorm.Config{
		SkipDefaultTransaction: true, TranslateError: true, Logger: logger.Discard, DisableAutomaticPing: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open postgres: %w", err), pool.Close())
	}
	return &Store{db: db, pool: pool, announcer: cfg.Announcer, now: cfg.Now, committed: func() {}, lists: newListCache(cfg.Cache)}, nil
}

// redact drops the text of a connection string from an error: it may hold a
// password.
func redact(error) error {
	return errors.New("the connection string, --database-url or PREFS_DATABASE_URL, cannot be parsed")
}

// Close releases the pool.
func (s *Store) Close() error { return s.pool.Close() }

// AfterCommit registers what is called after every commit that put events into
// the outbox. Call it before the store is used.
func (s *Store) AfterCommit(fn func()) { s.committed = fn }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		if err := c.Ping(ctx); err != nil {
			return fmt.Errorf("ping: %w: %w", errLost, err)
		}
		return nil
	})
}

// Stats are those of the connection pool.
func (s *Store) Stats() sql.DBStats { return s.pool.Stats() }

// on runs fn on a connection of gorm's pool. Waiting for the connection ends
// with the caller; the work on it does not, because pgx closes a connection
// whose context ends, and a client that hangs up must not cost one. A
// transaction left open, by an error or on purpose, is rolled back.
func (s *Store) on(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return &noConnectionError{err}
	}
	defer func() { _ = conn.Close() }() // gives it back
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return conn.Raw(func(driver any) error {
		std, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("a pool of %T is not pgx's", driver)
		}
		c := std.Conn()
		defer func() {
			if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
				rollback(ctx, c)
			}
		}()
		return fn(ctx, c)
	})
}

// rollbackWithin bounds a rollback, which has to happen also when the time for
// the work itself is over: until then its locks stay.
const rollbackWithin = time.Second

func rollback(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWithin)
	defer cancel()
	_, _ = c.Exec(ctx, "rollback") // if it fails, pgx closes the connection
}

// attempts bounds how often work is repeated that the server undid because of
// others, or whose connection died before its commit.
const attempts = 4

// retry repeats what left nothing behind and may well succeed, and names what
// the database was too busy or too broken for. A lost commit is never repeated.
func (s *Store) retry(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	for attempt := 1; ; attempt++ {
		err := s.on(ctx, fn)
		if err == nil || attempt == attempts || !repeatable(err) {
			return translate(err)
		}
		jitter := time.Duration(rand.Int64N(int64(attempt) * int64(20*time.Millisecond)))
		timer := time.NewTimer(jitter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return translate(err)
		}
	}
}

func repeatable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01" // serialization failure, deadlock
	}
	return errors.Is(err, errLost)
}
