package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Lag is how far a read replica is behind its primary: zero if it has everything
// that it was sent and is being sent more, else the age of the last change that
// it has made its own. A server that is no replica is not behind.
func (s *Store) Lag(ctx context.Context) (time.Duration, error) {
	var behind float64
	err := s.on(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `
			select case
				when not pg_is_in_recovery() then 0
				when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver where status = 'streaming') then 0
				else coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
			end::float8`).Scan(&behind)
	})
	return seconds(behind), err
}
