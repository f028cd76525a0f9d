-- Work that outlives a request: a durable row with a lease, a cursor and its
-- progress, which any replica can take over.

-- +goose Up

create table operations (
  id               uuid primary key,
  kind             text not null,
  state            text not null default 'pending'
    check (state in ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'compensating', 'compensated')),
  actor            text not null,
  request          jsonb not null,
  result           jsonb,
  error            jsonb,
  done             bigint not null default 0,
  total            bigint,
  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  owner            text,
  lease_until      timestamptz not null default 'epoch',
  -- Every claim raises it, and every save names it: a runner that lost its lease
  -- can no longer write.
  epoch            bigint not null default 0,
  cause            text,
  attempts         int not null default 0,
  next_attempt_at  timestamptz not null default now(),
  cancel_requested boolean not null default false,
  compensate       boolean not null default false
);

create index operations_open on operations (next_attempt_at) where state in ('pending', 'running', 'compensating');
create index operations_created on operations (created_at desc);
create unique index operations_one_reconcile on operations (kind)
  where kind in ('reconcile', 'verify') and state in ('pending', 'running');

-- One entity, or one user, that an operation has to deal with.
create table operation_steps (
  operation_id   uuid not null references operations on delete cascade,
  seq            int not null,
  entity_type    text not null,
  entity_id      text not null,
  state          text not null default 'pending',
  cursor         bigint not null default 0,
  undo_cursor    bigint not null default 0,
  parts          int not null default 0,
  deleted        bigint not null default 0,
  affected_users bigint not null default 0,
  error          jsonb,
  primary key (operation_id, seq)
);

-- +goose Down
drop table operation_steps;
drop table operations;
