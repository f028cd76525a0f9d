package postgres

import (
	"context"
	"math"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/outbox"
)

// What a relay would read whose cursor is a plain number: the highest id, which
// loses what commits late, or the oldest transaction that still runs, which
// swaps what one list's writers do. No suite may let them pass.
const (
	mutantByID = `
(select xid, id, event_id, type, schema_version, topic, aggregateid, record_key, headers, payload, true, 0::float8, null::uuid, null::text, false
 from outbox where id > $1 order by id limit $2)
union all
select null, null, null, null, null, null, null, null, null, null, null, null, null, pg_current_snapshot()::text, false
order by 2 nulls last`

	mutantByWatermark = `
select xid, id, event_id, type, schema_version, topic, aggregateid, record_key, headers, payload, true, 0::float8, null::uuid, null::text, false
from outbox
where xid >= pg_snapshot_xmin($1::text::pg_snapshot) and xid < pg_snapshot_xmin(pg_current_snapshot())
union all
select null, null, null, null, null, null, null, null, null, null, null, null, null,
  format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot())), false
order by 1 nulls last, 2`
)

func (t *term) mutantRound(ctx context.Context, after outbox.Cursor, limit outbox.Limit) (outbox.Round, error) {
	query, args := mutantByID, []any{after.MaxID, limit.Rows}
	if mutant.Is("relay-by-watermark") {
		query, args = mutantByWatermark, []any{after.Snapshot}
	}
	rows, err := t.conn.Query(ctx, query, args...)
	if err != nil {
		return outbox.Round{}, err
	}
	return collectRound(rows, outbox.Limit{Rows: math.MaxInt})
}
