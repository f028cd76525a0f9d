-- What a look at the whole asks for, without reading all operations and every
-- event that was ever settled; and what is remembered of operations that are not.

-- +goose Up

create index operations_failed on operations (created_at) where state = 'failed';
create index operations_runs on operations (kind, created_at desc) where kind in ('reconcile', 'verify');
create index inbox_letters on inbox (processed_at desc) where outcome = 'dead_lettered';

-- Who asked what of operations that are no longer kept, for as long as the
-- history of lists.
create table operation_calls (
  at           timestamptz not null,
  operation_id uuid not null,
  call         text not null,
  actor        text not null,
  kind         text not null,
  state        text not null,
  request      jsonb not null,
  primary key (at, operation_id, call)
);

-- +goose Down
drop table operation_calls;
drop index inbox_letters;
drop index operations_runs;
drop index operations_failed;
