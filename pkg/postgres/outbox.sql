-- The statements of the relay. Transactions are numbered by xid8, which never wraps; a snapshot is passed as the text of a
-- pg_snapshot. The session that runs them may only use the index scans for which they are written, see relaySettings.

-- name: claim
-- $1 relay, $2 owner, $3 lease in seconds: no row for an unknown relay; a null epoch when the lease is not to be had; true when
-- the cursor is of another cluster, or ahead of this one's transactions.
with claimed as (
  update outbox_relays r
  set owner = $2, epoch = epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3), updated_at = now(),
    system_identifier = p.system_identifier
  from pg_control_system() p
  where r.name = $1 and not r.paused and (r.expires_at < clock_timestamp() or r.owner = $2)
    and coalesce(r.system_identifier, p.system_identifier) = p.system_identifier
    and pg_snapshot_xmax(coalesce(r.window_snapshot, r.snapshot)::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
  returning r.name, r.epoch, r.snapshot, coalesce(r.window_snapshot, '') as window_snapshot, coalesce(r.window_id, 0) as window_id, r.max_id
)
select c.epoch, coalesce(c.snapshot, ''), coalesce(c.window_snapshot, ''), coalesce(c.window_id, 0), coalesce(c.max_id, 0),
  coalesce(r.system_identifier, p.system_identifier) <> p.system_identifier
    or pg_snapshot_xmax(coalesce(r.window_snapshot, r.snapshot)::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
from outbox_relays r cross join pg_control_system() p left join claimed c using (name)
where r.name = $1

-- name: recall
-- $1 relay, $2 a snapshot that it stored, $3 events that it read behind that: how far its row is, and how many of the events are nowhere.
-- Their rows are not older than the snapshot, but for those that reanchor has moved; on another cluster the numbers mean nothing.
select r.epoch, r.max_id, case
  when coalesce(r.system_identifier, p.system_identifier) <> p.system_identifier then 0
  else coalesce(cardinality($3::uuid[]), 0) - (
    select count(*) from (
      select event_id from outbox where xid >= pg_snapshot_xmin($2::text::pg_snapshot) and event_id = any ($3)
      union select event_id from outbox where xid = '3' and event_id = any ($3)
      union select event_id from outbox_quarantine where event_id = any ($3)) there)
  end
from outbox_relays r cross join pg_control_system() p where r.name = $1

-- name: introduce
-- $1 relay: it begins before the first row.
insert into outbox_relays (name) values ($1) on conflict do nothing

-- name: round
-- $1 the last snapshot, $2 most rows + 1, $3 most bytes of values. A row is new if its transaction was not in the last snapshot:
-- it began later, or it was under way then. One statement sees one snapshot, which is its last row.
(
  select b.xid, b.id, b.event_id, b.type, b.schema_version, b.topic, b.aggregateid, b.record_key, b.headers,
    case when b.fits then b.payload end, b.fits, extract(epoch from clock_timestamp() - b.created_at)::float8,
    case when (select exists (select from outbox_quarantine where resolved_at is null)) and b.aggregateid <> '' then
      (select q.event_id from outbox_quarantine q
       where q.topic = b.topic and q.aggregateid = b.aggregateid and q.id < b.id and q.resolved_at is null order by q.id limit 1)
    end,
    null::text, null::boolean
  from (
    select o.xid, o.id, o.event_id, o.type, o.schema_version, o.topic, o.aggregateid, o.record_key, o.headers, o.payload, o.created_at,
      coalesce(sum(octet_length(o.payload)) over (order by o.id rows between unbounded preceding and 1 preceding), 0) <= $3 as fits
    from (
      (select xid, id, event_id, type, schema_version, topic, aggregateid, record_key, headers, payload, created_at from outbox
       where xid >= pg_snapshot_xmax($1::text::pg_snapshot) order by xid, id limit $2)
      union all
      (select xid, id, event_id, type, schema_version, topic, aggregateid, record_key, headers, payload, created_at from outbox
       where xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))) limit $2)
    ) o
  ) b
)
union all
select null, null, null, null, null, null, null, null, null, null, null, null, null, pg_current_snapshot()::text,
  pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::text::pg_snapshot)
order by 2 nulls last

-- name: rows
-- $1 xids, $2 ids, $3 most bytes of values: rows by their places, in that order.
select b.n, b.xid, b.id, b.event_id, b.type, b.schema_version, b.topic, b.aggregateid, b.record_key, b.headers,
  case when b.fits then b.payload end, b.fits, extract(epoch from clock_timestamp() - b.created_at)::float8,
  case when (select exists (select from outbox_quarantine where resolved_at is null)) and b.aggregateid <> '' then
    (select q.event_id from outbox_quarantine q
     where q.topic = b.topic and q.aggregateid = b.aggregateid and q.id < b.id and q.resolved_at is null order by q.id limit 1)
  end
from (
  select k.n, o.xid, o.id, o.event_id, o.type, o.schema_version, o.topic, o.aggregateid, o.record_key, o.headers, o.payload, o.created_at,
    coalesce(sum(octet_length(o.payload)) over (order by k.n rows between unbounded preceding and 1 preceding), 0) <= $3 as fits
  from unnest($1::xid8[], $2::bigint[]) with ordinality k (xid, id, n)
  join outbox o on o.xid = k.xid and o.id = k.id
) b
order by b.n

-- name: window
-- $1 the last snapshot, $2 the snapshot that ends the window, $3 after this id, $4 most rows
select k.xid, k.id
from (
  select xid, id from outbox
  where xid >= pg_snapshot_xmax($1::text::pg_snapshot) and xid < pg_snapshot_xmax($2::text::pg_snapshot)
    and id > $3 and pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
  union all
  select xid, id from outbox
  where xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot)))
    and id > $3 and pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
) k
order by k.id limit $4

-- name: save
-- $1 relay, $2 epoch, $3 snapshot, $4 the window's snapshot or '', $5 its last id, $6 highest id, $7 lease in seconds: no row when
-- the epoch is over, else what operators want
update outbox_relays
set snapshot = $3, window_snapshot = nullif($4, ''), window_id = case when $4 <> '' then $5::bigint end, max_id = greatest(max_id, $6),
  expires_at = clock_timestamp() + make_interval(secs => $7), updated_at = now()
where name = $1 and epoch = $2
returning paused, exists (select from outbox_quarantine where resolved_at is null and decision is not null)

-- name: release
-- $1 relay, $2 epoch, $3 snapshot, $4 the window's snapshot or '', $5 its last id, $6 highest id
update outbox_relays
set snapshot = $3, window_snapshot = nullif($4, ''), window_id = case when $4 <> '' then $5::bigint end, max_id = greatest(max_id, $6),
  expires_at = 'epoch', owner = null, updated_at = now()
where name = $1 and epoch = $2

-- name: refused
-- $1 xid, $2 id, $3 error
update outbox set attempts = attempts + 1, last_error = $3 where xid = $1::xid8 and id = $2

-- name: quarantine
-- $1 relay, $2 epoch, $3 xids, $4 ids, $5 reasons, $6 errors, $7 refusals to add, $8 blocking events: 0 when the epoch is over. The
-- lock keeps the next term from beginning in between.
with term as materialized (
  select 1 from outbox_relays where name = $1 and epoch = $2 for no key update
), moved as (
  delete from outbox o
  using unnest($3::xid8[], $4::bigint[], $5::text[], $6::text[], $7::int[], $8::uuid[]) s (xid, id, reason, error, attempts, blocked_by)
  where o.xid = s.xid and o.id = s.id and exists (select from term)
  returning o.event_id, o.xid, o.id, o.aggregatetype, o.aggregateid, o.aggregate_seq, o.type, o.schema_version, o.topic, o.headers,
    o.record_key, o.payload, o.created_at, o.attempts + s.attempts as attempts, s.reason, s.error, s.blocked_by
), kept as (
  insert into outbox_quarantine (event_id, xid, id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers,
    record_key, payload, created_at, attempts, reason, error, blocked_by)
  select event_id, xid, id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers,
    record_key, payload, created_at, attempts, reason, error, blocked_by from moved
  on conflict (event_id) do update -- an event that was released, and is replayed
  set xid = excluded.xid, id = excluded.id, headers = excluded.headers, payload = excluded.payload, attempts = excluded.attempts,
    reason = excluded.reason, error = excluded.error, blocked_by = excluded.blocked_by,
    quarantined_at = excluded.quarantined_at, decision = null, resolved_at = null
)
select count(*) from term

-- name: inherit
-- Rows that waited only for decided ones share their fate: they are released, up to the next row of their subject that waits for a
-- decision of its own.
with held as materialized (
  select k.topic, k.aggregateid, (
    select min(q.id) from outbox_quarantine q
    where q.topic = k.topic and q.aggregateid = k.aggregateid and q.resolved_at is null and q.decision is null and q.reason <> 'blocked') as id
  from (select distinct topic, aggregateid from outbox_quarantine where resolved_at is null and decision is not null and aggregateid <> '') k
)
update outbox_quarantine q set decision = 'release'
from held h
where q.topic = h.topic and q.aggregateid = h.aggregateid and q.resolved_at is null and q.decision is null and q.reason = 'blocked'
  and (h.id is null or q.id < h.id)

-- name: decide
-- $1 relay, $2 epoch, $3 most rows: 0 when the epoch is over, and how many decisions were carried out. A row that is released is
-- back under its id, as if it had just been committed; it waits for a decision about every earlier one of its subject.
with term as materialized (
  select 1 from outbox_relays where name = $1 and epoch = $2 for no key update
), held as materialized (
  select k.topic, k.aggregateid, (
    select min(q.id) from outbox_quarantine q
    where q.topic = k.topic and q.aggregateid = k.aggregateid and q.resolved_at is null and q.decision is null) as id
  from (select distinct topic, aggregateid from outbox_quarantine where resolved_at is null and decision is not null and aggregateid <> '') k
), ripe as materialized (
  select q.event_id, q.decision from outbox_quarantine q left join held h using (topic, aggregateid)
  where q.resolved_at is null and q.decision is not null and exists (select from term)
    and (q.decision = 'drop' or h.id is null or q.id < h.id)
  order by q.id limit $3 for no key update of q
), released as (
  insert into outbox (id, event_id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers, record_key, payload,
    created_at, attempts, last_error) overriding system value
  select q.id, q.event_id, q.aggregatetype, q.aggregateid, q.aggregate_seq, q.type, q.schema_version, q.topic, q.headers, q.record_key, q.payload,
    q.created_at, q.attempts, q.error
  from ripe r join outbox_quarantine q using (event_id) where r.decision = 'release'
), resolved as (
  update outbox_quarantine q set resolved_at = clock_timestamp() from ripe r where q.event_id = r.event_id returning q.event_id
)
select (select count(*) from term), (select count(*) from resolved)

-- name: prune
-- $1 retention in seconds, $2 most rows, $3 not below this xid: only the oldest rows are looked at, so that it costs the same
-- whatever the table holds; what every relay has behind it is deleted if it is old enough.
with oldest as materialized (
  select xid, id, created_at from outbox
  where xid >= $3::xid8
    and xid < (select pg_snapshot_xmin(snapshot::pg_snapshot) as published from outbox_relays order by published limit 1)
  order by xid, id limit $2
)
delete from outbox o using oldest
where o.xid = oldest.xid and o.id = oldest.id and oldest.created_at < now() - make_interval(secs => $1)
returning o.xid

-- name: forget
-- $1 how long events that were released or dropped stay on record, in seconds
delete from outbox_quarantine where resolved_at < now() - make_interval(secs => $1)

-- name: vitals
-- $1 relay. In a backlog the oldest row is that of the whole backlog.
select r.owner is not null and r.expires_at > clock_timestamp(), r.paused,
  coalesce(extract(epoch from clock_timestamp() - least(
    (select o.created_at from outbox o where o.xid >= pg_snapshot_xmax(r.snapshot::pg_snapshot) order by o.xid, o.id limit 1),
    (select min(o.created_at) from outbox o where o.xid = any (array(select pg_snapshot_xip(r.snapshot::pg_snapshot))))
  )), 0)::float8,
  (select count(*) from outbox_quarantine where resolved_at is null)
from outbox_relays r where r.name = $1

-- name: status
-- $1 relay, $2 most rows to count. A relay that never ran has published nothing.
select r.name is not null, coalesce(r.owner, ''), coalesce(r.expires_at > clock_timestamp() and r.owner is not null, false), coalesce(r.epoch, 0),
  coalesce(r.paused, false),
  coalesce(r.system_identifier <> p.system_identifier, false)
    or coalesce(pg_snapshot_xmax(coalesce(r.window_snapshot, r.snapshot)::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()), false),
  r.window_snapshot is not null, u.rows, coalesce(extract(epoch from clock_timestamp() - u.oldest), 0)::float8,
  (select count(*) from outbox_quarantine where resolved_at is null),
  (select count(distinct (topic, aggregateid)) from outbox_quarantine where resolved_at is null),
  (select count(*) from outbox_quarantine where resolved_at is null and decision is not null), coalesce(r.max_id, 0)
from (values ($1::text)) asked (name)
cross join pg_control_system() p
left join outbox_relays r using (name)
cross join lateral (
  select count(*) as rows, min(o.created_at) as oldest
  from (
    (select created_at from outbox
     where xid >= pg_snapshot_xmax(coalesce(r.snapshot, '1:1:')::pg_snapshot)
       and not coalesce(id <= r.window_id and pg_visible_in_snapshot(xid, r.window_snapshot::pg_snapshot), false)
     order by xid, id limit $2)
    union all
    (select created_at from outbox
     where xid = any (array(select pg_snapshot_xip(coalesce(r.snapshot, '1:1:')::pg_snapshot)))
       and not coalesce(id <= r.window_id and pg_visible_in_snapshot(xid, r.window_snapshot::pg_snapshot), false)
     limit $2)
  ) o
) u

-- name: notify
-- $1 channel
select pg_notify($1, '')
