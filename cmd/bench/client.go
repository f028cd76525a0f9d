package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client is one connection that sends one request after the other.
type client struct {
	http         *http.Client
	base         string
	lists, items int
	active       int // users, from the first
	id, clients  int
	authorize    func(user int) (string, error) // the header
	orders       map[int][]int
	answer       int    // bytes of every answer, where the server sends what it is asked for
	statement    string // that such a server runs
	bytes, count int64  // of the answers to do
}

func (m *machine) newClient(to *process, id int, f flags) *client {
	c := &client{
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}, Timeout: 30 * time.Second},
		base: to.url, answer: to.answer, lists: f.Lists, active: f.Active, items: f.Items, id: id, clients: f.Clients, authorize: m.tokens.bearer, orders: map[int][]int{},
	}
	if to.authorize != nil {
		c.authorize = to.authorize
	}
	return c
}

func (c *client) close() { c.http.CloseIdleConnections() }

func (c *client) randomUser() int { return rand.IntN(c.active) + 1 }

// ownUser is a random list that no other client writes, so that the client
// knows its order.
func (c *client) ownUser() int {
	return rand.IntN(c.active/c.clients)*c.clients + c.id + 1
}

// orderOf is the order of a list of ownUser's; the caller may change it.
func (c *client) orderOf(u int) []int {
	order, known := c.orders[u]
	if !known {
		order = c.fresh()
		c.orders[u] = order
	}
	return order
}

func (c *client) fresh() []int {
	order := make([]int, c.items)
	for i := range order {
		order[i] = i + 1
	}
	return order
}

func (c *client) request(ctx context.Context, method, path string, user int, tag, body string, want int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	authorization, err := c.authorize(user)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", authorization)
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.answer > 0 {
		req.Header.Set("X-Bench-Status", strconv.Itoa(want))
		req.Header.Set("X-Bench-Bytes", strconv.Itoa(c.answer))
		req.Header.Set("X-Bench-SQL", c.statement)
		req.Header.Set("X-Bench-User", strconv.Itoa(user))
	}
	return c.http.Do(req)
}

func (c *client) do(ctx context.Context, method, path string, user int, tag, body string, want int) error {
	res, err := c.request(ctx, method, path, user, tag, body, want)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	c.bytes, c.count = c.bytes+int64(len(answer)), c.count+1
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s %s answered %d instead of %d: %.300s", method, path, res.StatusCode, want, answer)
	}
	return err
}

// tag reads the entity tag of what a path of the user's answers.
func (c *client) tag(ctx context.Context, path string, user int) (string, error) {
	res, err := c.request(ctx, http.MethodGet, path, user, "", "", http.StatusOK)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.Header.Get("ETag"), err
}
