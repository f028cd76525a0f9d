-- What a look at the whole asks for, without reading all operations and every
-- event that was ever settled.

-- +goose Up

create index operations_failed on operations (created_at) where state = 'failed';
create index operations_runs on operations (kind, created_at desc) where kind in ('reconcile', 'verify');
create index inbox_letters on inbox (processed_at desc) where outcome = 'dead_lettered';

-- +goose Down
drop index inbox_letters;
drop index operations_runs;
drop index operations_failed;
