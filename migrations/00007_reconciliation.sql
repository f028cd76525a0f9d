-- What reconciliation with the owners of entities has to remember from one run
-- to the next, and when scheduled work was begun last.

-- +goose Up

-- An entity that its owner did not know in the last run. Only the second run
-- that finds it missing, some time after the first, has it cleaned.
create table orphan_sightings (
  entity_type text collate "C" not null,
  entity_id   text collate "C" not null,
  first_seen  timestamptz not null,
  last_seen   timestamptz not null,
  sightings   int not null default 1,
  primary key (entity_type, entity_id)
);

create table schedules (
  name     text primary key,
  last_run timestamptz not null
);

-- +goose Down
drop table schedules;
drop table orphan_sightings;
