package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// operation is a request to the api and the pgbench script of the least SQL
// that does the same.
type operation struct {
	name    string
	floor   string // body of a pgbench script; :u is a random list
	prepare preparation
}

// preparation runs once for each client; what it returns makes that client's next
// request.
type preparation func(ctx context.Context, c *client) (next func() error, err error)

// label is what every item carries.
const label = `{"label": "Everyday account", "pinned": true}`

var fresh atomic.Int64 // numbers users that have no list yet

// Names of operations that other servers offer too.
const (
	opList      = "list of 20"
	opKnown     = "304"
	opPatch     = "PATCH"
	opUnchanged = "replace, nothing changed"
	opMove      = "replace, one move"
	opFirst     = "replace, first write, new token"
)

const listPath = "/preferences?domain=accounts"

func operations() []operation {
	return []operation{
		{opList, floorList, func(ctx context.Context, c *client) (func() error, error) {
			return func() error {
				return c.do(ctx, http.MethodGet, listPath, c.randomUser(), "", "", http.StatusOK)
			}, nil
		}},
		{opKnown, floorHead, knownTags(func(int) string { return listPath })},
		{opPatch, floorPatch, func(ctx context.Context, c *client) (func() error, error) {
			return func() error {
				u := c.randomUser()
				path := "/preferences/" + itemID(u, rand.IntN(c.items)+1)
				return c.do(ctx, http.MethodPatch, path, u, "", fmt.Sprintf(`{"attributes":{"v":%d}}`, rand.IntN(1_000_000)), http.StatusOK)
			}, nil
		}},
		{opUnchanged, floorList, unchanged},
		{opMove, floorMove, func(ctx context.Context, c *client) (func() error, error) {
			return func() error {
				u := c.ownUser()
				order := c.swapped(u)
				return c.do(ctx, http.MethodPut, "/preferences:batchReplace", u, "", c.body(order), http.StatusOK)
			}, nil
		}},
		{opFirst, floorFirst, func(ctx context.Context, c *client) (func() error, error) {
			return func() error {
				u := c.lists + int(fresh.Add(1)) // its token is new as well
				return c.do(ctx, http.MethodPut, "/preferences:batchReplace", u, "", c.body(c.fresh()), http.StatusOK)
			}, nil
		}},
	}
}

// knownTags asks for lists whose tags it has read before.
func knownTags(path func(user int) string) preparation {
	return func(ctx context.Context, c *client) (func() error, error) {
		const known = 500
		users, tags := make([]int, known), make([]string, known)
		for i := range users {
			users[i] = c.randomUser()
			tag, err := c.tag(ctx, path(users[i]), users[i])
			if err != nil {
				return nil, err
			}
			tags[i] = tag
		}
		next := 0
		return func() error {
			next = (next + 1) % known
			return c.do(ctx, http.MethodGet, path(users[next]), users[next], tags[next], "", http.StatusNotModified)
		}, nil
	}
}

// unchanged saves lists as they are. Each is saved once before, because earlier
// operations may have left other attributes in it.
func unchanged(ctx context.Context, c *client) (func() error, error) {
	save := func(u int) error {
		return c.do(ctx, http.MethodPut, "/preferences:batchReplace", u, "", c.body(c.orderOf(u)), http.StatusOK)
	}
	for u := c.id + 1; u <= c.active; u += c.clients {
		if err := save(u); err != nil {
			return nil, err
		}
	}
	return func() error { return save(c.ownUser()) }, nil
}

// swapped is the order of a user's list after two of its items changed places.
func (c *client) swapped(u int) []int {
	order := c.orderOf(u)
	i, j := rand.IntN(len(order)), rand.IntN(len(order))
	order[i], order[j] = order[j], order[i]
	return order
}

// body is the request of a UI: every item with its attributes, in order.
func (c *client) body(order []int) string {
	var b strings.Builder
	b.WriteString(`{"domain":"accounts","preferences":[`)
	for i, n := range order {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"entityId":"` + entityID(n) + `","order":` + strconv.Itoa(i+1) + `,"attributes":` + label + `}`)
	}
	b.WriteString(`]}`)
	return b.String()
}

// The scripts use the same statements as a service that does only this: no
// history, no outbox, no tombstones.
const (
	floorUser = "\\set u random(1,:lists)\n"
	floorList = floorUser + `select l.list_id, l.version, l.updated_at, p.id, p.entity_type, p.entity_id, p.position, p.attributes, p.version, p.created_at, p.updated_at
 from preference_lists l left join preferences p on p.list_id = l.list_id where l.user_id = 'user-' || :u::text and l.domain = 'accounts';
`
	floorHead  = floorUser + "select version from preference_lists where user_id = 'user-' || :u::text and domain = 'accounts';\n"
	floorPatch = floorUser + `\set k random(1,:items)
\set v random(1,1000000)
with h as (update preference_lists l set version = l.version + 1, updated_at = now() where l.list_id = :u returning l.version)
 update preferences p set attributes = p.attributes || ('{"v":' || :v::text || '}')::jsonb, version = p.version + 1, updated_at = now()
 from h where p.id = ('01990000-0000-7000-8000-' || lpad(to_hex(:u::int * 64 + :k::int), 12, '0'))::uuid returning h.version, p.*;
`
	floorMove = floorUser + `\set a random(1,:items - 6)
\startpipeline
begin;
select list_id, version from preference_lists where user_id = 'user-' || :u::text and domain = 'accounts' for no key update;
select id, entity_type, entity_id, position, attributes, version, created_at, updated_at from preferences where list_id = :u;
\endpipeline
\startpipeline
update preferences p set position = t.p, version = p.version + 1, updated_at = now()
 from (select ('01990000-0000-7000-8000-' || lpad(to_hex(:u::int * 64 + g), 12, '0'))::uuid id, g p from generate_series(:a::int, :a::int + 6) g) t where p.id = t.id;
update preference_lists set version = version + 1, updated_at = now() where list_id = :u returning version, updated_at;
commit;
\endpipeline
`
	floorFirst = `\startpipeline
begin;
with h as (insert into preference_lists (user_id, domain, version) values ('floor-' || gen_random_uuid()::text, 'accounts', 1) returning list_id)
 insert into preferences (id, list_id, entity_type, entity_id, position, attributes)
 select gen_random_uuid(), h.list_id, 'account', 'acc-' || g, g, '{"label": "Everyday account", "pinned": true}' from h, generate_series(1, :items) g;
commit;
\endpipeline
`
)
