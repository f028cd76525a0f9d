package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// startPocketBase starts the program of cmd/bench/pocketbase, which fills its own
// SQLite database and writes down a token for each user.
func (m *machine) startPocketBase(ctx context.Context, f flags) (rival, error) {
	addr, _, err := freeAddrs(ctx)
	if err != nil {
		return rival{}, err
	}
	file := filepath.Join(m.dir, "pocketbase-tokens.json")
	progress("filling PocketBase with %d lists", f.Active)
	p, err := spawn(ctx, []string{
		"HTTP_ADDR=" + addr, "DATA_DIR=" + filepath.Join(m.dir, "pocketbase"), "TOKENS_FILE=" + file,
		"USERS=" + strconv.Itoa(f.Active), "ITEMS=" + strconv.Itoa(f.Items), "ATTRIBUTES=" + label,
	}, f.PocketBase)
	if err != nil {
		return rival{}, err
	}
	p.url = "http://" + addr
	if err := ready(ctx, p.url+"/api/health"); err != nil {
		return rival{}, errors.Join(err, p.stop())
	}
	var signed []string
	text, err := os.ReadFile(file) //nolint:gosec // in our own directory
	if err == nil {
		err = json.Unmarshal(text, &signed)
	}
	if err != nil {
		return rival{}, errors.Join(err, p.stop())
	}
	p.authorize = func(user int) (string, error) { return signed[user-1], nil }
	return rival{name: "PocketBase", server: p, offers: pocketOffers}, nil
}

const (
	pocketRecords = "/api/collections/preferences/records"
	pocketList    = pocketRecords + "?perPage=100&skipTotal=1&sort=order&filter=(domain='accounts')"
)

// pocketOffers lack the answer 304: PocketBase has no conditional requests.
var pocketOffers = map[string]preparation{
	opList: func(ctx context.Context, c *client) (func() error, error) {
		return func() error { return c.do(ctx, http.MethodGet, pocketList, c.randomUser(), "", "", http.StatusOK) }, nil
	},
	opPatch: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.randomUser()
			path := pocketRecords + "/" + pocketID(u, rand.IntN(c.items)+1)
			return c.do(ctx, http.MethodPatch, path, u, "", fmt.Sprintf(`{"attributes":{"v":%d}}`, rand.IntN(1_000_000)), http.StatusOK)
		}, nil
	},
	opUnchanged: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.ownUser()
			return c.pocketSave(ctx, u, c.orderOf(u))
		}, nil
	},
	opMove: func(ctx context.Context, c *client) (func() error, error) {
		return func() error {
			u := c.ownUser()
			return c.pocketSave(ctx, u, c.swapped(u))
		}, nil
	},
}

func pocketID(user, k int) string { return fmt.Sprintf("%015d", user*64+k) }

// pocketSave saves a whole list: a batch of its records, which is one transaction.
func (c *client) pocketSave(ctx context.Context, user int, order []int) error {
	requests := make([]string, len(order))
	for i, n := range order {
		requests[i] = fmt.Sprintf(`{"method":"PATCH","url":"%s/%s","body":{"order":%d,"attributes":%s}}`, pocketRecords, pocketID(user, n), i+1, label)
	}
	return c.do(ctx, http.MethodPost, "/api/batch", user, "", `{"requests":[`+strings.Join(requests, ",")+`]}`, http.StatusOK)
}
