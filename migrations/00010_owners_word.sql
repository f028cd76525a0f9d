-- What its owner has said last of an entity, beside what counts: an operation
-- that is undone gives way to it.

-- +goose Up

alter table deleted_entities
  add column owner_deleted boolean,
  add column owner_at      timestamptz,
  add column owner_source  text;

update deleted_entities set owner_deleted = deleted, owner_at = state_at, owner_source = source where source like 'event:%';

-- +goose Down
alter table deleted_entities
  drop column owner_source,
  drop column owner_at,
  drop column owner_deleted;
