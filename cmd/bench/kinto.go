package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// kintoSettings are those of a small production: everything in PostgreSQL but the
// cache, as many processes as prefsd has cores here, and the cheapest way to
// authenticate that it has.
const kintoSettings = `[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = %[1]s
kinto.storage_pool_size = 8
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = %[1]s
kinto.permission_pool_size = 8
kinto.cache_backend = kinto.core.cache.memory
kinto.userid_hmac_secret = bench
kinto.bucket_create_principals = system.Authenticated
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
`

// startKinto starts Kinto on the same PostgreSQL and saves a list for each user:
// a collection, with a record for each item.
func (m *machine) startKinto(ctx context.Context, f flags) (rival, error) {
	url, err := m.newDatabase(ctx, "kinto")
	if err != nil {
		return rival{}, err
	}
	ini := filepath.Join(m.dir, "kinto.ini")
	url = strings.Replace(url, "postgres://", "postgresql+psycopg2://", 1)
	if err := os.WriteFile(ini, fmt.Appendf(nil, kintoSettings, strings.ReplaceAll(url, "%", "%%")), 0o600); err != nil {
		return rival{}, err
	}
	bin := filepath.Join(f.Kinto, "bin")
	//nolint:gosec // the directory is where the caller has Kinto
	if out, err := exec.CommandContext(ctx, filepath.Join(bin, "kinto"), "migrate", "--ini", ini).CombinedOutput(); err != nil {
		return rival{}, fmt.Errorf("migrate: %w: %s", err, out)
	}
	addr, _, err := freeAddrs(ctx)
	if err != nil {
		return rival{}, err
	}
	p, err := spawn(ctx, nil, filepath.Join(bin, "gunicorn"), "--paste", ini, "--bind", addr, "--workers", "2", "--threads", strconv.Itoa(f.Clients/2+1),
		"--keep-alive", "60", "--log-level", "warning")
	if err != nil {
		return rival{}, err
	}
	p.url, p.authorize = "http://"+addr+"/v1", func(user int) (string, error) {
		return "Basic " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "user-%d:secret", user)), nil
	}
	if err := ready(ctx, p.url+"/__heartbeat__"); err != nil {
		return rival{}, err
	}
	progress("filling Kinto with %d lists", f.Active)
	return rival{name: "Kinto", server: p, offers: kintoOffers}, m.fillKinto(ctx, p, f)
}

func (m *machine) fillKinto(ctx context.Context, p *process, f flags) error {
	c := m.newClient(p, 0, f)
	defer c.close()
	err := c.do(ctx, http.MethodPut, kintoBucket, 1, "", `{"permissions":{"collection:create":["system.Authenticated"]}}`, http.StatusCreated)
	for user := 1; user <= f.Active && err == nil; user++ {
		if err = c.do(ctx, http.MethodPut, kintoList(user), user, "", `{}`, http.StatusCreated); err == nil {
			err = c.kintoSave(ctx, user, c.fresh())
		}
	}
	return err
}

const kintoBucket = "/buckets/prefs"

func kintoList(user int) string { return kintoBucket + "/collections/user-" + strconv.Itoa(user) }

var kintoOffers = map[string]preparation{
	opList: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.randomUser()
			return c.do(ctx, http.MethodGet, kintoList(u)+"/records?_sort=order", u, "", "", http.StatusOK)
		}, nil
	},
	opKnown: knownTags(func(user int) string { return kintoList(user) + "/records?_sort=order" }),
	opPatch: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.ownUser() // two writes of one list in one millisecond are refused with 409
			path := kintoList(u) + "/records/" + entityID(rand.IntN(c.items)+1)
			return c.do(ctx, http.MethodPatch, path, u, "", fmt.Sprintf(`{"data":{"attributes":{"v":%d}}}`, rand.IntN(1_000_000)), http.StatusOK)
		}, nil
	},
	opUnchanged: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.ownUser()
			return c.kintoSave(ctx, u, c.orderOf(u))
		}, nil
	},
	opMove: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.ownUser()
			return c.kintoSave(ctx, u, c.swapped(u))
		}, nil
	},
}

// kintoSave saves a whole list: a batch of its records, which is one transaction.
func (c *client) kintoSave(ctx context.Context, user int, order []int) error {
	requests := make([]string, len(order))
	for i, n := range order {
		requests[i] = fmt.Sprintf(`{"path":"/v1%s/records/%s","body":{"data":{"entityType":"account","order":%d,"attributes":%s}}}`, kintoList(user), entityID(n), i+1, label)
	}
	return c.do(ctx, http.MethodPost, "/batch", user, "", `{"defaults":{"method":"PUT"},"requests":[`+strings.Join(requests, ",")+`]}`, http.StatusOK)
}
