package main

import (
	"context"
	"net/http"
	"path"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
)

// statements are those of the scripts in cmd/bench/operations.go: $1 is the
// number of a user, and so of a list; $2 is the item that the path names.
var statements = map[string]string{
	"head": "select version from preference_lists where user_id = 'user-' || $1::int and domain = 'accounts'",
	"list": `select l.list_id, l.version, l.updated_at, p.id, p.entity_type, p.entity_id, p.position, p.attributes, p.version, p.created_at, p.updated_at
 from preference_lists l left join preferences p on p.list_id = l.list_id where l.user_id = 'user-' || $1::int and l.domain = 'accounts'`,
	// What a change of one item leaves behind: the item, its list's version, a row
	// of history and an event of their usual sizes, in one round trip and one commit.
	"rows": `with h as (update preference_lists set version = version + 1, updated_at = now() where list_id = $1 returning list_id, version),
 p as (update preferences p set attributes = p.attributes || '{"v": 1}', version = p.version + 1, updated_at = now() from h where p.id = $2 returning p.*),
 c as (insert into changes (list_id, version, action, actor, delta)
  select h.list_id, h.version, 'update', 'user', jsonb_build_object('updated', jsonb_build_array(p.entity_id, p.attributes, p.attributes)) from h, p)
 insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, payload)
 select gen_random_uuid(), 'list', 'user', h.version, 'preferences.updated', 'preferences.events', convert_to(repeat('x', 450), 'UTF8') from h, p returning 1`,
	"patch": `with h as (update preference_lists l set version = l.version + 1, updated_at = now() where l.list_id = $1 returning l.version)
 update preferences p set attributes = p.attributes || '{"v": 1}', version = p.version + 1, updated_at = now()
 from h where p.id = $2 returning h.version, p.*`,
}

// open connects as the api does when a statement is asked for, with more
// connections than there are clients.
func open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 20
	cfg.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	cfg.ConnConfig.RuntimeParams["jit"] = "off"
	return pgxpool.NewWithConfig(ctx, cfg)
}

// query runs the statement that a request names, if it names one, and looks at
// none of its rows.
func query(pool *pgxpool.Pool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			in := c.Request()
			name := in.Header.Get("X-Bench-SQL")
			if name == "" {
				return next(c)
			}
			user, err := strconv.Atoi(in.Header.Get("X-Bench-User"))
			if err != nil {
				return echo.NewHTTPError(http.StatusBadRequest, err.Error())
			}
			args := []any{user}
			if name == "patch" || name == "rows" {
				args = append(args, path.Base(in.URL.Path))
			}
			found, err := rows(in.Context(), pool, statements[name], args)
			if err == nil && found == 0 {
				err = echo.NewHTTPError(http.StatusNotFound, "the statement found nothing")
			}
			if err != nil {
				return err
			}
			return next(c)
		}
	}
}

// rows runs a statement and counts its rows.
func rows(ctx context.Context, pool *pgxpool.Pool, sql string, args []any) (count int, err error) {
	result, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	for result.Next() {
		count++
	}
	return count, result.Err()
}
