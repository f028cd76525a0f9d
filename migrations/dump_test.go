package migrations_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// schema describes everything a step can make, one sorted line each: columns
// with their place and default, constraints, indexes, sequences, settings.
const schema = `
with mine as (
  select c.* from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'public' and c.relname !~ '^goose_'
)
select line from (
  select format('%s %s kind=%s options=%s', 'relation', relname, relkind, reloptions) from mine
  union all
  select format('column %s.%s at %s: %s collate %s null=%s identity=%s default=%s', c.relname, a.attname,
    row_number() over (partition by c.oid order by a.attnum), format_type(a.atttypid, a.atttypmod),
    a.attcollation::regcollation, not a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
  from mine c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  union all
  select format('constraint %s on %s: %s', k.conname, c.relname, pg_get_constraintdef(k.oid))
  from mine c join pg_constraint k on k.conrelid = c.oid
  union all
  select format('index %s', pg_get_indexdef(i.indexrelid)) from mine c join pg_index i on i.indrelid = c.oid
  union all
  select format('sequence %s: %s', c.relname, to_jsonb(s) - 'seqrelid') from mine c join pg_sequence s on s.seqrelid = c.oid
  union all
  select format('function %s', p.oid::regprocedure) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public'
  union all
  select format('type %s', t.oid::regtype) from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where n.nspname = 'public' and t.typname !~ '^_?goose_'
  union all
  select format('trigger %s on %s: %s', g.tgname, c.relname, pg_get_triggerdef(g.oid)) from mine c join pg_trigger g on g.tgrelid = c.oid and not g.tgisinternal
  union all
  select format('comment on %s, column %s: %s', c.relname, e.objsubid, e.description) from mine c join pg_description e on e.objoid = c.oid
) everything (line) order by line`

// dump lists the schema of a database.
func dump(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), schema)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	lines := []string{}
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}
