-- The statements of the hot paths and of the protocols that touch lists. Each is prepared under its name on a
-- connection that needs it first. All of them run under READ COMMITTED, which is a setting of the connection: to begin with a
-- level would set and reset it in each transaction. Times come from the writer: the larger of its
-- clock and the stored time + 1 microsecond, so that rows, event, tag and answer of one version carry one time, known
-- before anything is sent.
-- A guard that does not hold divides by zero (22012): the server then refuses the rest of the batch.

-- name: begin
begin transaction
-- name: commit
commit
-- name: rollback
rollback
-- name: point
savepoint point
-- name: undo
rollback to savepoint point

-- name: keyguard
-- $1 key: holds if no other transaction has taken the Idempotency-Key; it never waits
select 1 / pg_try_advisory_xact_lock($1)::int

-- name: kept
-- $1 user, $2 key, $3 retention in seconds: in a statement after the guard, whose snapshot is younger
select fingerprint, status, headers, body, operation_id from idempotency_keys
where user_id = $1 and key = $2 and created_at > now() - make_interval(secs => $3)

-- name: keep
-- $1 user, $2 key, $3 fingerprint, $4 status, $5 headers, $6 body, $7 operation: what is there by now is past its time, or
-- belongs to a request that failed
insert into idempotency_keys (user_id, key, fingerprint, status, headers, body, operation_id)
values ($1, $2, $3, $4, $5::text::jsonb, $6, $7)
on conflict (user_id, key) do update set fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
  body = excluded.body, operation_id = excluded.operation_id, created_at = now()

-- name: keyprune
-- $1 retention in seconds, $2 at most so many
with old as (
  delete from idempotency_keys where ctid = any(array(
    select ctid from idempotency_keys where created_at <= now() - make_interval(secs => $1) limit $2 for update skip locked)) returning 1)
select count(*) from old

-- name: keptoperation
-- $1 operation: its state, and whether its caller was told not to wait
select state, coalesce((request->>'deferred')::boolean, false) from operations where id = $1

-- name: cleanedusers
-- $1 operation: whom it took something from
select distinct l.user_id from changes c join preference_lists l using (list_id) where c.operation_id = $1 and c.action = 'clean' order by 1

-- name: head
-- $1 user, $2 domain: what If-None-Match needs
select list_id, version, updated_at from preference_lists where user_id = $1 and domain = $2

-- name: list
-- $1 user, $2 domain, $3 $4 $5 list, version and time of the caller's copy, or zeros: the head alone if they are those of the
-- list, else all of it. One statement is one snapshot; the rows are sorted and numbered by the caller
select l.list_id, l.domain, l.version, l.gaps, l.updated_at,
  p.id, p.entity_type, p.entity_id, p.position, p.attributes, p.version, p.created_at, p.updated_at
from preference_lists l left join preferences p
  on p.list_id = case when l.list_id = $3 and l.version = $4 and l.updated_at = $5 then null else l.list_id end
where l.user_id = $1 and l.domain = $2

-- name: listof
-- $1 item, $2 user, $3 $4 $5 likewise: the list that holds the item
select l.list_id, l.domain, l.version, l.gaps, l.updated_at,
  p.id, p.entity_type, p.entity_id, p.position, p.attributes, p.version, p.created_at, p.updated_at
from preferences i join preference_lists l on l.list_id = i.list_id left join preferences p
  on p.list_id = case when l.list_id = $3 and l.version = $4 and l.updated_at = $5 then null else l.list_id end
where i.id = $1 and l.user_id = $2

-- name: item
-- $1 item, $2 user, $3 items that are never too large together: the item alone, with the order that its readers see, and how
-- much there is besides
select l.list_id, l.domain, l.version, l.gaps, l.updated_at,
  p.id, p.entity_type, p.entity_id, p.position, p.attributes, p.version, p.created_at, p.updated_at,
  case when l.gaps then p.position else o.rank end, o.n - 1,
  (select coalesce(sum(octet_length(q.attributes::text)), 0)::int from preferences q
   where o.n > $3::int and q.list_id = p.list_id and q.id <> p.id)
from preferences p join preference_lists l on l.list_id = p.list_id cross join lateral (
  select count(*)::int n, (count(*) filter (where (q.position, q.id) <= (p.position, p.id)))::int rank
  from preferences q where q.list_id = p.list_id) o
where p.id = $1 and l.user_id = $2

-- name: history
-- $1 user, $2 domain, $3 version above those wanted, $4 limit, $5 bytes: from the end of the primary key, one by one until the
-- deltas are more than the bytes, so that what no page holds is neither unpacked nor sent. A delta is spelled once, which is
-- most of the work, and carried as text; the limit within keeps the planner from spelling it for each use.
with recursive page as (
  (select c.list_id, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta,
     1 n, octet_length(c.delta)::bigint bytes
   from preference_lists l cross join lateral (
     select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta::text delta
     from changes x where x.list_id = l.list_id and x.version < $3 order by x.version desc limit 1) c
   where l.user_id = $1 and l.domain = $2)
  union all
  select c.list_id, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta,
    p.n + 1, p.bytes + octet_length(c.delta)
  from page p cross join lateral (
    select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta::text delta
    from changes x where x.list_id = p.list_id and x.version < p.version order by x.version desc limit 1) c
  where p.n < $4 and (p.n = 1 or p.bytes <= $5))
select list_id, $1::text, $2::text, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta from page order by n

-- name: since
-- $1 user, $2 domain, $3 first version wanted, $4 limit, $5 bytes: likewise
with recursive page as (
  (select c.list_id, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta,
     1 n, octet_length(c.delta)::bigint bytes
   from preference_lists l cross join lateral (
     select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta::text delta
     from changes x where x.list_id = l.list_id and x.version >= $3 order by x.version limit 1) c
   where l.user_id = $1 and l.domain = $2)
  union all
  select c.list_id, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta,
    p.n + 1, p.bytes + octet_length(c.delta)
  from page p cross join lateral (
    select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta::text delta
    from changes x where x.list_id = p.list_id and x.version > p.version order by x.version limit 1) c
  where p.n < $4 and (p.n = 1 or p.bytes <= $5))
select list_id, $1::text, $2::text, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta from page order by n

-- name: audituser
-- $1 user, $2 from, $3 $4 $5 the time, list and version to go on behind, $6 domain or empty, $7 actor or empty, $8 limit,
-- $9 bytes: of each list from the end of the primary key, because times rise with versions
with recursive found as materialized (
  select row_number() over (order by c.changed_at desc, c.list_id desc, c.version desc) n, c.list_id, c.version, l.user_id, l.domain
  from preference_lists l cross join lateral (
    select list_id, version, changed_at from changes x where x.list_id = l.list_id and x.changed_at >= $2
      and (x.changed_at, x.list_id, x.version) < ($3::timestamptz, $4::bigint, $5::bigint) and $7::text in ('', x.actor)
    order by x.version desc limit $8) c
  where l.user_id = $1 and $6::text in ('', l.domain)
  order by n limit $8), page as (
  select 0::bigint n, 0::bigint bytes
  union all
  select f.n, p.bytes + (select octet_length(x.delta::text) from changes x where x.list_id = f.list_id and x.version = f.version)
  from page p join found f on f.n = p.n + 1 where p.n < 2 or p.bytes <= $9)
select c.list_id, f.user_id, f.domain, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta
from found f cross join lateral (
  select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta
  from changes x where x.list_id = f.list_id and x.version = f.version limit 1) c
where f.n <= (select max(n) from page) order by f.n

-- name: auditrange
-- $1 from, $2 $3 $4 the time, list and version to go on behind, $5 domain or empty, $6 actor or empty, $7 limit, $8 bytes: by
-- the time's index, in windows that the caller widens
with recursive found as materialized (
  select row_number() over (order by c.changed_at desc, c.list_id desc, c.version desc) n, c.list_id, c.version, l.user_id, l.domain
  from changes c join preference_lists l using (list_id)
  where c.changed_at >= $1 and c.changed_at <= $2 and (c.changed_at, c.list_id, c.version) < ($2::timestamptz, $3::bigint, $4::bigint)
    and $5::text in ('', l.domain) and $6::text in ('', c.actor)
  order by n limit $7), page as (
  select 0::bigint n, 0::bigint bytes
  union all
  select f.n, p.bytes + (select octet_length(x.delta::text) from changes x where x.list_id = f.list_id and x.version = f.version)
  from page p join found f on f.n = p.n + 1 where p.n < 2 or p.bytes <= $8)
select c.list_id, f.user_id, f.domain, c.version, c.changed_at, c.action, c.actor, c.request_id, c.operation_id, c.forced, c.gaps, c.delta
from found f cross join lateral (
  select list_id, version, changed_at, action, actor, request_id, operation_id, forced, gaps, delta
  from changes x where x.list_id = f.list_id and x.version = f.version limit 1) c
where f.n <= (select max(n) from page) order by f.n

-- name: auditoperations
-- $1 from, $2 $3 the time and id to go on behind, $4 actor or empty, $5 limit: that it was called for, cancelled, undone; also
-- of operations that are no longer kept
select e.id, e.kind, e.state, e.actor, e.at, e.request, e.call from (
  (select c.id, o.kind, o.state, c.actor, c.at, o.request, c.call from operations o cross join lateral (values
    (o.id, 'operationCalled', o.actor, o.created_at), (o.id, 'operationCancelled', o.cancelled_by, o.cancelled_at),
    (o.id, 'operationUndone', o.undone_by, o.undone_at)) c(id, call, actor, at)
  where c.at >= $1 and (c.at, c.id) < ($2::timestamptz, $3::uuid) and $4::text in ('', c.actor)
  order by c.at desc, c.id desc limit $5)
  union all
  (select operation_id, kind, state, actor, at, request, call from operation_calls
  where at >= $1 and (at, operation_id) < ($2::timestamptz, $3::uuid) and $4::text in ('', actor)
  order by at desc, operation_id desc limit $5)) e
order by e.at desc, e.id desc limit $5

-- name: opprune
-- $1 retention in seconds, $2 at most so many
with old as (
  select id from operations where created_at < now() - make_interval(secs => $1) and finished_at < now() - make_interval(secs => $1)
    and state in ('succeeded', 'failed', 'cancelled', 'compensated') order by created_at limit $2 for update skip locked),
told as (
  insert into operation_calls (at, operation_id, call, actor, kind, state, request)
  select c.at, o.id, c.call, c.actor, o.kind, o.state, o.request from operations o join old using (id) cross join lateral (values
    ('operationCalled', o.actor, o.created_at), ('operationCancelled', o.cancelled_by, o.cancelled_at),
    ('operationUndone', o.undone_by, o.undone_at)) c(call, actor, at)
  where c.at is not null on conflict do nothing),
gone as (delete from operations o using old where o.id = old.id returning 1)
select count(*) from gone

-- name: callprune
-- $1 retention in seconds, $2 at most so many
delete from operation_calls where ctid = any(array(
  select ctid from operation_calls where at < now() - make_interval(secs => $1) order by at limit $2 for update skip locked))

-- name: guardhead
-- $1 list, $2 version and $3 time read, $4 gaps, $5 time: locks and bumps the head if it is still the one that was read. The
-- time tells a version from one of that number which a restore of the database has undone
with h as (
  update preference_lists set version = version + 1, gaps = $4, updated_at = $5
  where list_id = $1 and version = $2 and updated_at = $3 returning 1)
select 1 / count(*) from h

-- name: bucketshared
-- $1 keys, ascending
select count(pg_advisory_xact_lock_shared(k)) from unnest($1::bigint[]) k

-- name: bucketexclusive
-- $1 key
select pg_advisory_xact_lock($1)

-- name: guardlive
-- $1 types, $2 ids: holds if none of the entities is deleted
select 1 / (case when exists (
  select 1 from unnest($1::text[], $2::text[]) t(et, e)
  join deleted_entities d on d.entity_type = t.et and d.entity_id = t.e where d.deleted) then 0 else 1 end)

-- name: tombstones
-- $1 types, $2 ids: those that are deleted
select t.et, t.e from unnest($1::text[], $2::text[]) t(et, e)
join deleted_entities d on d.entity_type = t.et and d.entity_id = t.e where d.deleted

-- name: ensure
-- $1 user, $2 domain
insert into preference_lists (user_id, domain)
select $1, $2 where not exists (select 1 from preference_lists where user_id = $1 and domain = $2) on conflict do nothing

-- name: lock
-- $1 user, $2 domain
select list_id from preference_lists where user_id = $1 and domain = $2 for no key update

-- name: del
-- $1 ids
delete from preferences where id = any($1::uuid[])

-- name: upd
-- $1 ids, $2 positions, $3 attributes, $4 whether readers see a change (1) or a hole closes (0), $5 time
update preferences p set position = t.p, attributes = t.a::jsonb, version = p.version + t.c,
  updated_at = case when t.c = 1 then $5::timestamptz else p.updated_at end
from unnest($1::uuid[], $2::int[], $3::text[], $4::int[]) t(id, p, a, c) where p.id = t.id

-- name: updone
-- $1 id, $2 position, $3 attributes, $4 and $5 likewise: most writes rewrite one row, and need no join for it
update preferences set position = $2, attributes = $3::text::jsonb, version = version + $4,
  updated_at = case when $4 = 1 then $5::timestamptz else updated_at end where id = $1

-- name: ins
-- $1 list, $2 ids, $3 types, $4 entity ids, $5 positions, $6 attributes, $7 time
insert into preferences (id, list_id, entity_type, entity_id, position, attributes, created_at, updated_at)
select t.id, $1, t.et, t.e, t.p, t.a::jsonb, $7::timestamptz, $7::timestamptz
from unnest($2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[]) t(id, et, e, p, a)

-- name: change
-- $1 list, $2 version, $3 time, $4 action, $5 actor, $6 request id, $7 forced, $8 gaps, $9 delta, $10 operation or null
insert into changes (list_id, version, changed_at, action, actor, request_id, forced, gaps, delta, operation_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10)

-- name: emit
-- $1 event id, $2 aggregate, $3 key, $4 sequence, $5 type, $6 topic, $7 payload, $8 headers, $9 schema version, $10 key of a
-- record that is passed on: after the head has been locked, never before: that is what keeps a list's events in order
insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, payload, headers, schema_version, record_key)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10)

-- name: guardtime
-- $1 time, $2 seconds that it may be ahead: holds unless it is further ahead
select 1 / count(*) from (select where $1 <= clock_timestamp() + make_interval(secs => $2)) t

-- name: entitystate
-- $1 type, $2 id, $3 deleted, $4 time, $5 source, $6 consumer, $7 topic, $8 event id, $9 whether its owner says so: the newest
-- time wins, of equals the one that was processed last, but a deletion that is delivered again loses. What the owner has said
-- stays beside what an operation says later
insert into deleted_entities as d (entity_type, entity_id, deleted, state_at, source, owner_deleted, owner_at, owner_source)
select $1, $2, $3::boolean, $4::timestamptz, $5::text, case when $9 then $3::boolean end, case when $9 then $4::timestamptz end, case when $9 then $5::text end
where not exists (select 1 from inbox where consumer = $6 and topic = $7 and event_id = $8 and outcome not in ('dead_lettered', 'discarded'))
on conflict (entity_type, entity_id) do update set deleted = excluded.deleted, state_at = excluded.state_at, source = excluded.source,
  owner_deleted = coalesce(excluded.owner_deleted, d.owner_deleted), owner_at = coalesce(excluded.owner_at, d.owner_at),
  owner_source = coalesce(excluded.owner_source, d.owner_source),
  cleaned_at = case when d.deleted and excluded.deleted then d.cleaned_at end,
  recorded_at = case when $9 then now() else d.recorded_at end
where d.state_at < excluded.state_at or d.state_at = excluded.state_at
  and (not excluded.deleted or not exists (select 1 from inbox where consumer = $6 and topic = $7 and event_id = $8))

-- name: ownersword
-- $1 type, $2 id, $3 deleted, $4 time, $5 source, $6 consumer, $7 topic, $8 event id: what an owner says of a time before an
-- operation's word. That counts until it is undone; of the owner's own words the newest is kept
update deleted_entities set owner_deleted = $3, owner_at = $4, owner_source = $5, recorded_at = now()
where entity_type = $1 and entity_id = $2 and state_at > $4
  and (owner_at is null or owner_at < $4 or owner_at = $4
    and (not $3 or not exists (select 1 from inbox where consumer = $6 and topic = $7 and event_id = $8)))

-- name: statetimes
-- $1 types, $2 ids: when an operator's states take effect, in the order of the entities
select greatest(now(), d.state_at + interval '1 microsecond') from unnest($1::text[], $2::text[]) with ordinality t(et, e, n)
left join deleted_entities d on d.entity_type = t.et and d.entity_id = t.e order by t.n

-- name: ownerlift
-- $1 type, $2 id, $3 cause, $4 source: takes back a deletion that an owner has announced, and only just, so that it stays taken
-- back if it is delivered again
update deleted_entities set owner_deleted = false, owner_at = owner_at + interval '1 microsecond', owner_source = $4
where entity_type = $1 and entity_id = $2 and owner_deleted and owner_source = $3

-- name: statelift
-- $1 type, $2 id, $3 cause, $4 source: ends the deletion that the cause has recorded: what the owner has said last counts
update deleted_entities set deleted = coalesce(owner_deleted, false), state_at = coalesce(owner_at, 'epoch'), source = coalesce(owner_source, $4),
  cleaned_at = case when owner_deleted then cleaned_at end
where entity_type = $1 and entity_id = $2 and deleted and source = $3

-- name: seen
-- $1 consumer, $2 topic, $3 event id, $4 partition, $5 offset, $6 outcome: no row back is a duplicate. A dead letter that is
-- sent again, also one that was given up, comes from another place and replaces its mark.
insert into inbox as i (consumer, topic, event_id, partition, kafka_offset, outcome) values ($1, $2, $3, $4, $5, $6)
on conflict (consumer, topic, event_id) do update
  set outcome = excluded.outcome, partition = excluded.partition, kafka_offset = excluded.kafka_offset, processed_at = now()
where i.outcome in ('dead_lettered', 'discarded') and (i.partition, i.kafka_offset) <> (excluded.partition, excluded.kafka_offset) returning true

-- name: opinsert
-- $1 id, $2 kind, $3 actor, $4 cause, $5 request, $6 owner or null, $7 lease in seconds, $8 total, $9 types, $10 entity ids,
-- $11 state of its steps, $12 trace context or empty
with o as (
  insert into operations (id, kind, state, actor, cause, request, owner, lease_until, started_at, total, traceparent)
  select $1, $2, case when $6::text is null then 'pending' else 'running' end, $3, $4, $5::text::jsonb, $6,
    case when $6::text is null then 'epoch' else clock_timestamp() + make_interval(secs => $7) end, case when $6::text is not null then now() end, $8, nullif($12, ''))
insert into operation_steps (operation_id, seq, entity_type, entity_id, state)
select $1, t.n - 1, t.et, t.e, $11 from unnest($9::text[], $10::text[]) with ordinality t(et, e, n)

-- name: victims
-- $1 type, $2 id: none if the entity is not deleted (any more): that is what ends a clean
select list_id from preferences where entity_type = $1 and entity_id = $2
  and exists (select 1 from deleted_entities d where d.entity_type = $1 and d.entity_id = $2 and d.deleted) order by list_id

-- name: holders
-- $1 types, $2 ids, $3 at most so many: deleted or not
select count(*) from (
  select 1 from unnest($1::text[], $2::text[]) t(et, e) join preferences p on p.entity_type = t.et and p.entity_id = t.e limit $3) h

-- name: chunklock
-- $1 lists: those that nobody else holds, and whether their readers see gaps
select list_id, gaps from preference_lists where list_id = any($1::bigint[]) order by list_id for no key update skip locked

-- name: chunkgaps
-- $1 type, $2 id, $3 locked lists: before a clean that leaves gaps, positions become the orders that readers see; exactly in
-- the lists that chunkclean will bump, because whoever moves a position bumps the version
with n as (
  select p.id, row_number() over (partition by p.list_id order by p.position, p.id) rn
  from preferences p join preference_lists l using (list_id)
  where l.list_id = any($3::bigint[]) and not l.gaps
    and exists (select 1 from preferences x where x.list_id = l.list_id and x.entity_id = $2 and x.entity_type || '' = $1)
    and exists (select 1 from deleted_entities d where d.entity_type = $1 and d.entity_id = $2 and d.deleted))
update preferences p set position = n.rn from n where p.id = n.id and p.position <> n.rn

-- name: chunkclean
-- $1 type, $2 id, $3 locked lists, $4 their gaps, $5 actor, $6 operation, $7 reorder: item, head and history of every list in one
-- statement. The delta is put together as text: one parse costs less than the jsonb functions for each of its parts, and what
-- is the same in all of them is spelled once. Orders are counted by a comparison of positions, which seldom needs the ids.
with del as (
  delete from preferences p using unnest($3::bigint[], $4::boolean[]) v(list_id, gaps)
  where p.list_id = v.list_id and p.entity_id = $2 and p.entity_type || '' = $1
    and exists (select 1 from deleted_entities d where d.entity_type = $1 and d.entity_id = $2 and d.deleted)
  returning p.list_id, p.id, p.position, p.attributes, v.gaps),
h as (
  update preference_lists l set version = l.version + 1, gaps = not $7,
    updated_at = greatest(statement_timestamp(), l.updated_at + interval '1 microsecond')
  from del where l.list_id = del.list_id
  returning l.list_id, l.version, l.user_id, l.domain, l.gaps, l.updated_at, del.gaps as shown_gaps, del.id, del.position, del.attributes),
c as (
  insert into changes (list_id, version, changed_at, action, actor, operation_id, gaps, delta)
  select list_id, version, updated_at, 'clean', $5, $6, gaps,
    ((select '{"removed":[{"entityType":' || to_json($1) || ',"entityId":' || to_json($2) || ',"id":"') || id || '","attributes":' || attributes
    || ',"order":' || case when shown_gaps then position else (
        select count(*) from preferences q
        where q.list_id = h.list_id and q.position <= h.position and (q.position < h.position or q.id <= h.id)) end || '}]'
    || case when shown_gaps and $7 then ',"updated":'::text || (
        select coalesce(jsonb_agg(jsonb_build_object('entityId', e, 'order', jsonb_build_array(position, rank)))
          filter (where position <> rank), '[]')
        from (select q.entity_id e, q.position, row_number() over (order by q.position, q.id) rank
          from preferences q where q.list_id = h.list_id and q.id <> h.id) r) else '' end || '}')::jsonb
  from h)
select user_id, domain, list_id, version from h

-- name: cleaned
-- $1 type, $2 id: unless it came back and was deleted again since the clean last looked: that deletion has its own clean
update deleted_entities set cleaned_at = now() where entity_type = $1 and entity_id = $2 and deleted
  and not exists (select 1 from preferences p where p.entity_type = $1 and p.entity_id = $2)

-- name: userdeleted
-- $1 user
select true from deleted_entities where entity_type = '$user' and entity_id = $1 and deleted

-- name: userlock
-- $1 user
select list_id from preference_lists where user_id = $1 order by list_id for update

-- name: usererase
-- $1 user, whose lists are locked: heads, items by their foreign key, history, and kept answers, which hold lists; one that
-- is being kept at this very moment goes with its retention
with h as (delete from preference_lists where user_id = $1 returning domain, list_id),
c as (delete from changes using h where changes.list_id = h.list_id),
k as (delete from idempotency_keys where user_id = $1),
d as (update deleted_entities set cleaned_at = now() where entity_type = '$user' and entity_id = $1)
select domain, list_id from h order by list_id

-- name: claim
-- $1 owner, $2 lease in seconds, $3 kinds: an open operation that nobody works on; cleans before those that only look
update operations set state = case state when 'compensating' then state else 'running' end, owner = $1, epoch = epoch + 1,
  attempts = attempts + 1, lease_until = clock_timestamp() + make_interval(secs => $2), started_at = coalesce(started_at, now())
where id = (
  select id from operations
  where kind = any($3::text[]) and state in ('pending', 'running', 'compensating')
    and lease_until < clock_timestamp() and next_attempt_at <= clock_timestamp()
  order by kind in ('reconcile', 'verify'), next_attempt_at for update skip locked limit 1)
returning id, kind, epoch, attempts, cause, actor, request, done, coalesce(total, 0), cancel_requested, state = 'compensating',
  coalesce(traceparent, '')

-- name: stepbegin
-- $1 operation: the first of its entities that is not dealt with, unless it was cancelled
update operation_steps set state = 'running' where operation_id = $1 and state = 'pending' and seq = (
    select min(seq) from operation_steps where operation_id = $1 and state in ('pending', 'running'))
  and not exists (select 1 from operations where id = $1 and cancel_requested)

-- name: stepnow
-- $1 operation: the entity that it is at, when it was deleted, whether it has begun, and what was removed of those before it
select s.seq, s.entity_type, s.entity_id, (coalesce(o.request->'entities'->s.seq, o.request)->>'stateAt')::timestamptz,
  coalesce((o.request->>'reorder')::boolean, true), s.state = 'running', s.parts, s.deleted,
  (select coalesce(sum(b.deleted), 0)::bigint from operation_steps b where b.operation_id = s.operation_id and b.seq < s.seq)
from operation_steps s join operations o on o.id = s.operation_id
where s.operation_id = $1 and s.state in ('pending', 'running') order by s.seq limit 1

-- name: stepsave
-- $1 operation, $2 number, $3 parts, $4 deleted
update operation_steps set parts = $3, deleted = $4 where operation_id = $1 and seq = $2

-- name: stepend
-- $1 operation, $2 number, $3 parts, $4 deleted, $5 state, $6 error
update operation_steps set parts = $3, deleted = $4, state = $5, error = $6::text::jsonb where operation_id = $1 and seq = $2

-- name: stepsleft
-- $1 operation
select not exists (select 1 from operation_steps where operation_id = $1 and state in ('pending', 'running'))

-- name: stepsbegun
-- $1 operation
select entity_type, entity_id from operation_steps where operation_id = $1 and state <> 'pending' order by seq

-- name: patient
-- For what counts a million rows: the rest of the transaction may take longer than any other
set local statement_timeout = '5min'

-- name: stepsum
-- $1 operation: whom it took something from, counted once for each entity, and once altogether
with c as (
  select c.delta->'removed'->0->>'entityType' et, c.delta->'removed'->0->>'entityId' e, l.user_id
  from changes c join preference_lists l using (list_id) where c.operation_id = $1 and c.action = 'clean'),
s as (
  update operation_steps s set affected_users = x.n from (select et, e, count(distinct user_id) n from c group by et, e) x
  where s.operation_id = $1 and s.entity_type = x.et and s.entity_id = x.e)
select count(distinct user_id) from c

-- name: steps
-- $1 operation
select entity_type, entity_id, state, deleted, affected_users, error from operation_steps where operation_id = $1 order by seq

-- name: opsave
-- $1 operation, $2 epoch, $3 done, $4 total, $5 lease in seconds: refused if another runner has it; whether it was cancelled
with o as (
  update operations set done = greatest(done, $3), total = greatest(total, $4), attempts = case when $3 > done then 0 else attempts end,
    lease_until = clock_timestamp() + make_interval(secs => $5)
  where id = $1 and epoch = $2 and state in ('pending', 'running') returning cancel_requested)
select 1 / count(*), coalesce(bool_or(cancel_requested), false) from o

-- name: oplock
-- $1 operation, $2 epoch: refused as in opsave
select 1 / count(*), coalesce(bool_or(cancel_requested), false) from (
  select cancel_requested from operations where id = $1 and epoch = $2 and state in ('pending', 'running') for no key update) o

-- name: oprenew
-- $1 operation, $2 epoch, $3 lease in seconds: refused as in opsave
with o as (
  update operations set lease_until = clock_timestamp() + make_interval(secs => $3)
  where id = $1 and epoch = $2 and state in ('running', 'compensating') returning 1)
select 1 / count(*) from o

-- name: opfinish
-- $1 operation, $2 epoch, $3 state, $4 affected users, $5 error: refused as in opsave. What is to be undone goes on; one of
-- whose entities some were cleaned has succeeded, and says of which it has not
with s as (select coalesce(sum(deleted), 0)::bigint deleted, bool_or(state = 'succeeded') some from operation_steps where operation_id = $1),
o as (
  update operations set error = case when not s.some then $5::text::jsonb end,
    state = case when compensate then 'compensating' when s.some and $3 = 'failed' then 'succeeded' else $3 end,
    result = jsonb_build_object('deleted', s.deleted, 'affectedUsers', $4::bigint),
    done = greatest(done, s.deleted), total = case $3 when 'succeeded' then greatest(done, s.deleted) else greatest(total, done, s.deleted) end,
    finished_at = case when not compensate then now() end, started_at = coalesce(started_at, now()),
    lease_until = 'epoch', next_attempt_at = clock_timestamp(), attempts = 0
  from s where id = $1 and epoch = $2 and state in ('pending', 'running') returning 1)
select 1 / count(*) from o

-- name: opretry
-- $1 operation, $2 epoch, $3 delay in seconds, $4 error, $5 attempts without progress, as its owner knows them
update operations set state = case state when 'compensating' then state else 'pending' end, lease_until = 'epoch',
  next_attempt_at = clock_timestamp() + make_interval(secs => $3), error = $4::text::jsonb, attempts = least(attempts, $5)
where id = $1 and epoch = $2 and state in ('running', 'compensating')

-- name: ophandover
-- $1 operation, $2 epoch, $3 whether its caller, who does not wait any longer, knows of it
update operations set state = 'pending', owner = null, lease_until = 'epoch',
  request = case when $3 then request || '{"deferred": true}' else request end
where id = $1 and epoch = $2 and state = 'running'

-- name: opcancel
-- $1 operation, $2 whether to undo it too, $3 who wants that: nothing if it is too late
update operations set cancel_requested = cancel_requested or state in ('pending', 'running'), compensate = compensate or $2,
  cancelled_by = case when state in ('pending', 'running') then coalesce(cancelled_by, $3) else cancelled_by end,
  cancelled_at = case when state in ('pending', 'running') then coalesce(cancelled_at, clock_timestamp()) else cancelled_at end,
  undone_by = case when $2 and not compensate then $3 else undone_by end,
  undone_at = case when $2 and not compensate then clock_timestamp() + interval '1 microsecond' else undone_at end,
  state = case when state in ('pending', 'running') then state else 'compensating' end,
  finished_at = null, attempts = 0, next_attempt_at = least(next_attempt_at, clock_timestamp())
where id = $1 and (not $2 or kind in ('cleanEntity', 'bulkClean'))
  and (state in ('pending', 'running') or $2 and state in ('succeeded', 'failed', 'cancelled', 'compensating')) returning true

-- name: operation
-- $1 id
select id, kind, state, cause, actor, coalesce(owner, ''), attempts, cancel_requested, done, coalesce(total, 0),
  undone_by, undo_done, coalesce(undo_total, 0), restored, created_at, started_at, finished_at, error, result, request
from operations where id = $1

-- name: operationpage
-- $1 $2 the time and id to go on behind, $3 kind or empty, $4 state or empty, $5 limit
select id, kind, state, cause, actor, coalesce(owner, ''), attempts, cancel_requested, done, coalesce(total, 0),
  undone_by, undo_done, coalesce(undo_total, 0), restored, created_at, started_at, finished_at, error, result, request
from operations where created_at <= $1 and (created_at, id) < ($1::timestamptz, $2::uuid)
  and $3::text in ('', kind) and $4::text in ('', state)
order by created_at desc, id desc limit $5

-- name: undobegin
-- $1 operation, $2 epoch, $3 lists that are left: refused if another runner has it
with o as (
  update operations set undo_total = undo_done + $3 where id = $1 and epoch = $2 and state = 'compensating' returning 1)
select 1 / count(*) from o

-- name: undolists
-- $1 operation: the lists that its undo has to look at, from its cursor on
select distinct c.list_id from changes c join operations o on o.id = c.operation_id
where c.operation_id = $1 and c.action = 'clean' and c.list_id > o.undo_cursor order by 1

-- name: headlock
-- $1 list
select user_id, domain from preference_lists where list_id = $1 for no key update

-- name: removals
-- $1 list, $2 operation: what it took from the list, newest first, and whether readers saw gaps before
select c.version, coalesce((select b.gaps from changes b where b.list_id = c.list_id and b.version = c.version - 1), false), c.delta
from changes c where c.list_id = $1 and c.operation_id = $2 and c.action = 'clean' order by c.version desc

-- name: undosave
-- $1 operation, $2 epoch, $3 list, $4 items put back, $5 lease in seconds: refused as in undobegin
with o as (
  update operations set undo_cursor = $3, undo_done = undo_done + 1, restored = restored + $4, attempts = 0,
    lease_until = clock_timestamp() + make_interval(secs => $5)
  where id = $1 and epoch = $2 and state = 'compensating' returning 1)
select 1 / count(*) from o

-- name: undoend
-- $1 operation, $2 epoch, $3 state, $4 error: refused as in undobegin. One that failed can be undone again.
with o as (
  update operations set state = $3, error = $4::text::jsonb, compensate = $3 = 'compensated', finished_at = now(), lease_until = 'epoch'
  where id = $1 and epoch = $2 and state = 'compensating' returning 1)
select 1 / count(*) from o

-- name: now
select clock_timestamp()

-- name: entities
-- $1 type, $2 behind this id, $3 limit: distinct ids by one step of the index each
with recursive t as (
  (select entity_id from preferences where entity_type = $1 and entity_id > $2 order by entity_id limit 1)
  union all
  select (select p.entity_id from preferences p where p.entity_type = $1 and p.entity_id > t.entity_id order by p.entity_id limit 1)
  from t where t.entity_id is not null)
select entity_id from t where entity_id is not null limit $3

-- name: orphans
-- $1 domain, $2 type, $3 ids, $4 $5 entity and item to go on behind, $6 limit
select p.id, l.user_id, p.entity_id from preferences p join preference_lists l using (list_id)
where p.entity_type = $2 and p.entity_id = any($3::text[]) and l.domain = $1 and (p.entity_id, p.id) > ($4::text, $5::uuid)
order by p.entity_id, p.id limit $6

-- name: tombstonepage
-- $1 type, $2 behind this id, $3 deleted before, $4 limit
select entity_id from deleted_entities where entity_type = $1 and entity_id > $2 and deleted and state_at < $3 order by entity_id limit $4

-- name: sightingsgone
-- $1 types that were asked about, $2 $3 types and ids that are missing: what was seen again is no orphan
delete from orphan_sightings s where s.entity_type = any($1::text[])
  and not exists (select 1 from unnest($2::text[], $3::text[]) t(et, e) where t.et = s.entity_type and t.e = s.entity_id)

-- name: sightings
-- $1 $2 types and ids, $3 time
insert into orphan_sightings as s (entity_type, entity_id, first_seen, last_seen)
select t.et, t.e, $3, $3 from unnest($1::text[], $2::text[]) t(et, e)
on conflict (entity_type, entity_id) do update set sightings = s.sightings + 1, last_seen = excluded.last_seen

-- name: sightingsconfirmed
-- $1 $2 types and ids, $3 time, $4 seconds between two sightings: those that are in lists still, and that no open operation
-- deals with already. Another run's clean may have begun and ended while this one asked
select s.entity_type, s.entity_id from orphan_sightings s join unnest($1::text[], $2::text[]) t(et, e) on t.et = s.entity_type and t.e = s.entity_id
where s.sightings > 1 and s.first_seen <= $3::timestamptz - make_interval(secs => $4)
and exists (select from preferences p where p.entity_type = s.entity_type and p.entity_id = s.entity_id) and not exists (
  select from operations o join operation_steps x on x.operation_id = o.id
  where o.state in ('pending', 'running') and x.entity_type = s.entity_type and x.entity_id = s.entity_id) order by 1, 2

-- name: runend
-- $1 operation, $2 epoch, $3 state, $4 result, $5 error, $6 what it has dealt with: refused as in opsave
with o as (
  update operations set state = $3, result = $4::text::jsonb, error = $5::text::jsonb, done = greatest(done, $6), total = greatest(done, $6),
    finished_at = now(), started_at = coalesce(started_at, now()), lease_until = 'epoch'
  where id = $1 and epoch = $2 and state in ('pending', 'running') returning 1)
select 1 / count(*) from o

-- name: runopen
-- $1 id, $2 kind, $3 actor, $4 cause, $5 request: one of a kind is open at a time
insert into operations (id, kind, actor, cause, request) values ($1, $2, $3, $4, $5::text::jsonb) on conflict do nothing

-- name: runnow
-- $1 kind: the one that is open, and what it was asked for. A statement of its own sees also one that the insert waited for.
select id, request from operations where kind = $1 and state in ('pending', 'running')

-- name: schedulefirst
-- $1 name
insert into schedules (name, last_run) values ($1, clock_timestamp()) on conflict do nothing

-- name: scheduletick
-- $1 name, $2 when it was due, $3 id, $4 kind, $5 actor, $6 cause, $7 request: whether it begins now
with tick as (update schedules set last_run = $2 where name = $1 and last_run < $2 returning 1),
o as (
  insert into operations (id, kind, actor, cause, request) select $3, $4, $5, $6, $7::text::jsonb from tick on conflict do nothing returning 1)
select exists (select 1 from o)

-- name: opcounts
-- Each state of its own index: those that go on, and those that failed
select state, count(*) from operations where state in ('pending', 'running', 'compensating') group by state
union all select 'failed', count(*) from operations where state = 'failed'

-- name: lettercount
select count(*) from inbox where outcome = 'dead_lettered'

-- name: letterpage
-- $1 limit
select consumer, topic, partition, kafka_offset, event_id, processed_at from inbox where outcome = 'dead_lettered' order by processed_at desc limit $1

-- name: lastrun
-- $1 kind: the last one that has ended, and its report without the things that it names
select id, state, finished_at, coalesce(result, '{}') - array['entities', 'invariants'] from operations
where kind = $1 and kind in ('reconcile', 'verify') and finished_at is not null order by created_at desc limit 1

-- name: lagpage
select consumer, topic, partition, lag, owner, updated_at, extract(epoch from clock_timestamp() - updated_at)::float8
from consumer_lags order by consumer, topic, partition

-- name: lagsave
-- $1 group, $2 owner, $3 $4 $5 topics, partitions and lags, $6 seconds that anything else is remembered
with said as (select $1::text g, t.topic, t.partition, t.lag from unnest($3::text[], $4::int[], $5::bigint[]) t(topic, partition, lag)),
old as (
  delete from consumer_lags where ctid = any(array(
    select l.ctid from consumer_lags l where l.updated_at < now() - make_interval(secs => $6)
      and not exists (select 1 from said s where s.g = l.consumer and s.topic = l.topic and s.partition = l.partition) for update skip locked)))
insert into consumer_lags as l (consumer, topic, partition, lag, owner, updated_at)
select g, topic, partition, lag, $2, clock_timestamp() from said order by topic, partition
on conflict (consumer, topic, partition) do update set lag = excluded.lag, owner = excluded.owner, updated_at = excluded.updated_at
