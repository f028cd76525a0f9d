-- Events on their way to the broker. The columns of outbox carry the names that
-- Debezium's EventRouter expects, so it can stand in for the built-in relay.

-- +goose Up

create table outbox (
  -- The writing transaction: the relay decides by it, and never by the id,
  -- which rows a snapshot of the database already covered.
  xid            xid8   not null default pg_current_xact_id(),
  id             bigint generated always as identity (cache 1),
  event_id       uuid   not null,
  aggregatetype  text   not null,
  aggregateid    text   not null,
  aggregate_seq  bigint not null,
  type           text   not null,
  schema_version smallint not null default 1,
  topic          text   not null,
  -- Pairs of a name and a base64 value, or null: headers are bytes, and names
  -- may repeat.
  headers        jsonb  not null default '[]',
  payload        bytea,
  -- The key of a record that is passed on as it was (schema_version 0: a dead
  -- letter); null there means no key. Elsewhere aggregateid is the key.
  record_key     bytea,
  created_at     timestamptz not null default clock_timestamp(),
  attempts       int not null default 0,
  last_error     text,
  primary key (xid, id)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

-- One row for each relay name: who holds the lease, and how far it has come.
create table outbox_relays (
  name              text primary key,
  snapshot          text not null default '1:1:',
  window_snapshot   text,
  window_id         bigint,
  owner             text,
  epoch             bigint not null default 0,
  expires_at        timestamptz not null default 'epoch',
  -- A cursor means nothing on another cluster, so it remembers its own.
  system_identifier bigint,
  max_id            bigint not null default 0,
  paused            boolean not null default false,
  updated_at        timestamptz not null default now()
) with (fillfactor = 10);

-- Events that the broker refuses for good, and those of the same key behind
-- them, until an operator decides.
create table outbox_quarantine (
  event_id       uuid primary key,
  xid            xid8 not null,
  id             bigint not null,
  aggregatetype  text not null,
  aggregateid    text not null,
  aggregate_seq  bigint not null,
  type           text not null,
  schema_version smallint not null,
  topic          text not null,
  headers        jsonb not null,
  payload        bytea,
  record_key     bytea,
  created_at     timestamptz not null,
  attempts       int not null,
  reason         text not null,
  error          text not null,
  blocked_by     uuid,
  quarantined_at timestamptz not null default now(),
  decision       text,
  resolved_at    timestamptz
);

create index outbox_quarantine_key on outbox_quarantine (topic, aggregateid) where resolved_at is null;

-- +goose Down
drop table outbox_quarantine;
drop table outbox_relays;
drop table outbox;
