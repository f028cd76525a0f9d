-- Which trace an operation goes on with, whoever works on it.

-- +goose Up
alter table operations add column traceparent text;

-- +goose Down
alter table operations drop column traceparent;
