-- Requests that callers may repeat without doing them twice. A row commits with
-- what its request did, and answers the repetition.

-- +goose Up

create table idempotency_keys (
  user_id      text collate "C" not null,
  key          text collate "C" not null check (length(key) between 1 and 255),
  -- Of what the request means. Another request under the same key is refused.
  fingerprint  bytea not null,
  -- The answer; or the operation, where the request became one.
  status       int,
  headers      jsonb,
  body         bytea,
  operation_id uuid,
  created_at   timestamptz not null default now(),
  primary key (user_id, key),
  check ((status is null) = (operation_id is not null))
);

create index idempotency_keys_time on idempotency_keys using brin (created_at);

-- +goose Down
drop table idempotency_keys;
