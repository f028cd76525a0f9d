-- What operators ask of an operation after it was called for, how far its undo
-- has come, and how far behind the consumers of owners' events are.

-- +goose Up

alter table operations
  add column cancelled_by text,
  add column cancelled_at timestamptz,
  add column undone_by    text,
  add column undone_at    timestamptz,
  -- The last list that was put right again; lists are dealt with in the order of
  -- their ids, one transaction each.
  add column undo_cursor  bigint not null default 0,
  add column undo_done    bigint not null default 0,
  add column undo_total   bigint,
  add column restored     bigint not null default 0;

-- No release has written these: a sweep is over when no list is left, and an
-- undo goes by lists, not by entities.
alter table operation_steps drop column cursor, drop column undo_cursor;

-- A step that is pending in an operation that has ended was never begun.
update operation_steps s set state = case o.state when 'pending' then 'running' else o.state end
from operations o where o.id = s.operation_id;

-- Written by each consumer about the partitions that it holds, every few seconds.
create table consumer_lags (
  consumer   text not null,
  topic      text not null,
  partition  int not null,
  lag        bigint not null,
  owner      text not null,
  updated_at timestamptz not null default now(),
  primary key (consumer, topic, partition)
) with (fillfactor = 50);

-- +goose Down
drop table consumer_lags;
alter table operation_steps add column cursor bigint not null default 0, add column undo_cursor bigint not null default 0;
alter table operations
  drop column restored, drop column undo_total, drop column undo_done, drop column undo_cursor,
  drop column undone_at, drop column undone_by, drop column cancelled_at, drop column cancelled_by;
