-- The statements of operators. They run beside the relay: what they change, it finds in its next round or at its next save.

-- name: pause
-- $1 relay
insert into outbox_relays (name, paused) values ($1, true) on conflict (name) do update set paused = true

-- name: holder
-- $1 relay: whether a lease is held, for how long it is at most, and whether its end has been waited for in vain
select owner is not null and expires_at > clock_timestamp(), greatest(extract(epoch from expires_at - clock_timestamp()), 0)::float8
from outbox_relays where name = $1

-- name: fence
-- $1 relay: whoever holds the lease cannot renew it any more
update outbox_relays set epoch = epoch + 1 where name = $1 and paused

-- name: resume
-- $1 relay
update outbox_relays set paused = false where name = $1 and paused

-- name: published
-- $1 relay, $2 first id, $3 last id, $4 since, $5 until, $6 topic or '', $7 key or '': rows that the saved cursor has behind it.
-- It only moves forward, so that they stay behind it.
select o.xid, o.id, o.topic, o.type, o.created_at
from outbox o join outbox_relays r on r.name = $1
where o.id between $2 and $3 and o.created_at >= $4 and o.created_at < $5
  and ($6 = '' or o.topic = $6) and ($7 = '' or o.aggregateid = $7)
  and (pg_visible_in_snapshot(o.xid, r.snapshot::pg_snapshot)
    or coalesce(o.id <= r.window_id and pg_visible_in_snapshot(o.xid, r.window_snapshot::pg_snapshot), false))
order by o.id

-- name: replay
-- $1 xids, $2 ids: published rows look as if they had just been committed, under the ids that they have
update outbox o set xid = pg_current_xact_id(), attempts = 0, last_error = null
from unnest($1::xid8[], $2::bigint[]) k (xid, id)
where o.xid = k.xid and o.id = k.id

-- name: quarantined
-- $1 with those that are settled, $2 most rows
select event_id, id, topic, aggregateid, type, reason, error, attempts, blocked_by, octet_length(payload), created_at, quarantined_at,
  coalesce(decision, ''), resolved_at
from outbox_quarantine where $1 or resolved_at is null
order by id limit $2

-- name: judge
-- $1 events, $2 decision
update outbox_quarantine set decision = $2 where event_id = any ($1) and resolved_at is null returning event_id

-- name: undecided
-- The rows that were put into quarantine on their own account.
select event_id from outbox_quarantine where resolved_at is null and decision is null and reason <> 'blocked' order by id

-- name: unsettled
-- $1 events
select count(*) from outbox_quarantine where event_id = any ($1) and resolved_at is null

-- name: anchor
-- $1 relay: whether its cursor means nothing on this cluster
select coalesce(r.system_identifier <> p.system_identifier, false)
  or pg_snapshot_xmax(coalesce(r.window_snapshot, r.snapshot)::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
from outbox_relays r cross join pg_control_system() p where r.name = $1 for update of r

-- name: behind
-- $1 relay, $2 whether the cursor counts: how many rows would be published again, and how many are kept as published. The cursor
-- says which were, and no row that is younger than its last save: numbers of transactions begin anew on another cluster, and those
-- of rows may.
select count(*) filter (where not done), count(*) filter (where done)
from (
  select $2 and o.id <= r.max_id and o.created_at <= r.updated_at
    and (pg_visible_in_snapshot(o.xid, r.snapshot::pg_snapshot)
      or coalesce(o.id <= r.window_id and pg_visible_in_snapshot(o.xid, r.window_snapshot::pg_snapshot), false)) as done
  from outbox o join outbox_relays r on r.name = $1
) o

-- name: reanchor
-- $1 relay, $2 whether the cursor counts: as behind says, published rows move below every snapshot and the others above it
update outbox o set xid = case
  when $2 and o.id <= r.max_id and o.created_at <= r.updated_at
    and (pg_visible_in_snapshot(o.xid, r.snapshot::pg_snapshot)
      or coalesce(o.id <= r.window_id and pg_visible_in_snapshot(o.xid, r.window_snapshot::pg_snapshot), false)) then '3'::xid8
  else pg_current_xact_id() end
from outbox_relays r where r.name = $1

-- name: rebase
-- $1 relay
update outbox_relays r
set snapshot = '4:4:', window_snapshot = null, window_id = null, system_identifier = p.system_identifier, epoch = epoch + 1,
  owner = null, expires_at = 'epoch', updated_at = now()
from pg_control_system() p where r.name = $1
