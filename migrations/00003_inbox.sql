-- Events that were settled. The row commits together with the effect, which is
-- what makes a second delivery harmless.

-- +goose Up

create table inbox (
  consumer     text not null,
  topic        text not null,
  -- Unique within one source only, hence the topic in the key.
  event_id     text not null,
  partition    int not null,
  kafka_offset bigint not null,
  processed_at timestamptz not null default now(),
  outcome      text not null,
  primary key (consumer, topic, event_id)
);

create index inbox_time on inbox using brin (processed_at);

-- +goose Down
drop table inbox;
