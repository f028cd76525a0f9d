package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Server is what a server of PostgreSQL says about itself.
type Server struct {
	Version     string
	Number      int           // such as 170002
	Address     string        // where it was reached, as it knows itself
	Standby     bool          // it only reads
	Ahead       time.Duration // its clock before ours
	Uncertain   time.Duration // by how much that may be wrong
	Settings    map[string]string
	Connections int           // in use
	MaxConns    int           // that it takes
	OldestWork  time.Duration // of the transaction that has been open longest
	UnfrozenAge int64         // in transactions; at two thousand million the server stops
}

// examined are the settings that decide whether promises can be kept.
const examined = `('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'idle_session_timeout', 'default_transaction_read_only')`

// Examine asks a server about itself. It needs no schema.
func Examine(ctx context.Context, db *sql.DB) (Server, error) {
	s := Server{Settings: map[string]string{}}
	var now time.Time
	var oldest float64
	asked := time.Now()
	err := db.QueryRowContext(ctx, "select clock_timestamp()").Scan(&now)
	answered := time.Now()
	if err == nil {
		s.Uncertain = answered.Sub(asked) / 2
		s.Ahead = now.Sub(asked.Add(s.Uncertain))
		err = db.QueryRowContext(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
			coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a socket'),
			(select count(*) from pg_stat_activity where backend_type = 'client backend'), current_setting('max_connections')::int,
			coalesce((select extract(epoch from max(clock_timestamp() - xact_start)) from pg_stat_activity
				where backend_type = 'client backend' and datname = current_database()), 0)::float8,
			(select age(datfrozenxid) from pg_database where datname = current_database())`).
			Scan(&s.Version, &s.Number, &s.Standby, &s.Address, &s.Connections, &s.MaxConns, &oldest, &s.UnfrozenAge)
	}
	if err != nil {
		return s, fmt.Errorf("ask the server about itself: %w", err)
	}
	s.OldestWork = seconds(oldest)
	rows, err := db.QueryContext(ctx, "select name, setting from pg_settings where name in "+examined)
	if err != nil {
		return s, fmt.Errorf("ask for settings: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return s, fmt.Errorf("ask for settings: %w", err)
		}
		s.Settings[name] = value
	}
	return s, rows.Err()
}

// Denied returns what the role of the connection may not do and the services
// must.
func Denied(ctx context.Context, db *sql.DB) (denied []string, err error) {
	rows, err := db.QueryContext(ctx, `select p || ' on ' || t from unnest(array['preference_lists', 'preferences', 'changes', 'deleted_entities', 'outbox',
			'outbox_relays', 'outbox_quarantine', 'inbox', 'operations', 'operation_steps', 'idempotency_keys', 'consumer_lags', 'orphan_sightings', 'schedules']) t,
			unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
		where not has_table_privilege(t, p)
		union all select 'EXECUTE on pg_control_system()' where not has_function_privilege('pg_control_system()', 'EXECUTE')`)
	if err != nil {
		return nil, fmt.Errorf("ask for privileges: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var what string
		if err := rows.Scan(&what); err != nil {
			return nil, fmt.Errorf("ask for privileges: %w", err)
		}
		denied = append(denied, what)
	}
	return denied, rows.Err()
}

// Work is what operations and consumers have written down about themselves.
type Work struct {
	Open, Stuck, Failed int           // operations; failed ones of the last day
	Rows                int64         // of the outbox, about
	Lags                int           // partitions about which a consumer has written
	Lag                 int64         // records in them that wait
	LagAge              time.Duration // since the newest of what was written
}

// WorkNow asks how long work and consumers stand. An operation is stuck when
// nobody has come for it although it was due.
func WorkNow(ctx context.Context, db *sql.DB, due time.Duration) (Work, error) {
	var w Work
	var age float64
	err := db.QueryRowContext(ctx, `select
		count(*) filter (where state in ('pending', 'running', 'compensating')),
		count(*) filter (where state in ('pending', 'running', 'compensating')
			and greatest(created_at, lease_until, next_attempt_at) < now() - make_interval(secs => $1)
			and (state <> 'pending' or not exists (select from operations where lease_until > now()))),
		count(*) filter (where state = 'failed' and finished_at > now() - interval '1 day'),
		(select greatest(reltuples, 0)::bigint from pg_class where oid = 'outbox'::regclass),
		(select count(*) from consumer_lags), (select coalesce(sum(lag), 0)::bigint from consumer_lags),
		(select coalesce(extract(epoch from now() - max(updated_at)), 0)::float8 from consumer_lags)
		from operations`, due.Seconds()).Scan(&w.Open, &w.Stuck, &w.Failed, &w.Rows, &w.Lags, &w.Lag, &age)
	if err != nil {
		return w, fmt.Errorf("ask how work stands: %w", err)
	}
	w.LagAge = seconds(age)
	return w, nil
}
