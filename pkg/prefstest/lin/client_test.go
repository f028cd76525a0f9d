package lin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/prefstest"
	"github.com/prefsd/prefsd/pkg/retry"
)

// client is one of those who share a list, each in the belief of what it saw
// last.
type client struct {
	prefstest.Caller

	run   *run
	list  *list
	r     *rand.Rand
	name  int // in the history
	known prefstest.List
}

// work sends so many requests, one after the other.
func (c *client) work(ctx context.Context, requests int) error {
	for done := 0; done < requests && c.list.clear(); {
		answered, err := c.once(ctx, c.choose())
		if err != nil {
			return err
		}
		if answered {
			done++
		}
	}
	return nil
}

// look reads the list as it is at last.
func (c *client) look(ctx context.Context) error {
	for {
		answered, err := c.once(ctx, Request{Kind: Get})
		if answered || err != nil {
			return err
		}
	}
}

// once sends a request and keeps what came of it. It is false where nothing
// came of it for certain, and of a read that was not answered.
func (c *client) once(ctx context.Context, r Request) (bool, error) {
	key := ""
	if r.Kind != Get && c.r.IntN(keyed) == 0 {
		key = uuid.NewString()
	}
	began := c.run.now()
	a, fate, err := c.send(ctx, r, key)
	if err != nil {
		return false, err
	}
	ended := c.run.now()
	switch {
	case fate == refused, fate == lost && r.Kind == Get:
		c.run.count.refused.Add(1)
		return false, retry.Wait(ctx, shortly)
	case fate == lost:
		a, ended = Answer{Unknown: true}, 0
	}
	c.run.count.answered(r, a)
	c.list.add(Operation{Client: c.name, Call: began, Return: ended, Request: r, Answer: a})
	if a.Unknown {
		c.name = c.list.newcomer()
	}
	return true, nil
}

const (
	keyed     = 8   // one write of so many has an Idempotency-Key
	impatient = 150 // one attempt of so many is given up at once
	careless  = 15  // the same of those with a key
	shortly   = 10 * time.Millisecond
	insistent = 3000 // attempts at one request with a key
)

// send sends a request. Where a key makes that harmless, it is sent until it is
// answered. Only what succeeds is kept under a key: behind a refusal, an attempt
// that got no answer may yet arrive and succeed.
func (c *client) send(ctx context.Context, r Request, key string) (Answer, fate, error) {
	unknown := false
	for range insistent {
		a, f, err := c.attempt(ctx, r, key)
		unknown = unknown || f == lost
		settled := f == answered && a.Code != codeInProgress
		switch {
		case err != nil, key == "", !unknown && (settled || f == refused):
			return a, f, err
		case settled && a.Code == "":
			c.run.count.resolved.Add(1)
			return a, f, nil
		case settled:
			return Answer{}, lost, nil
		}
		if err := retry.Wait(ctx, shortly); err != nil {
			return a, f, err
		}
	}
	return Answer{}, lost, nil
}

// fate is whether the answer to a request came.
type fate int

const (
	answered fate = iota
	refused       // nothing happened
	lost          // nobody knows
)

// Codes of answers that say what is known.
const (
	codeUnavailable = "UNAVAILABLE"
	codeUnknown     = "OUTCOME_UNKNOWN"
	codeDeadline    = "DEADLINE_EXCEEDED"
	codeInProgress  = "REQUEST_IN_PROGRESS"
)

func (c *client) attempt(ctx context.Context, r Request, key string) (Answer, fate, error) {
	method, path, body, headers := c.spell(r)
	if key != "" {
		headers = append(headers, "Idempotency-Key", `"`+key+`"`)
	}
	trying, cancel := c.patience(ctx, r, key)
	defer cancel()
	res, err := c.Do(trying, method, path, body, headers...)
	switch {
	case ctx.Err() != nil:
		return Answer{}, lost, ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED) && key == "":
		return Answer{}, refused, nil // with a key, net/http may have sent it over another connection before
	case err != nil:
		return Answer{}, lost, nil
	}
	var failed struct{ Error struct{ Code string } }
	if res.Status >= http.StatusBadRequest {
		if err := res.JSON(&failed); err != nil {
			return Answer{}, lost, fmt.Errorf("%s %s: %d %s: %w", method, path, res.Status, res.Body, err)
		}
	}
	switch code := failed.Error.Code; {
	case code == codeUnavailable:
		return Answer{}, refused, nil
	case code == codeUnknown, code == codeDeadline:
		return Answer{}, lost, nil
	case res.Status >= http.StatusInternalServerError, res.Status == http.StatusTooManyRequests, res.Status == http.StatusUnauthorized:
		return Answer{}, lost, fmt.Errorf("%s %s was answered %d %s", method, path, res.Status, res.Body)
	case code != "":
		return Answer{Status: res.Status, Code: code}, answered, nil
	}
	a, err := c.understand(r, res)
	return a, answered, err
}

// patience is how long the client waits for an answer.
func (c *client) patience(ctx context.Context, r Request, key string) (context.Context, context.CancelFunc) {
	seldom := impatient
	if key != "" {
		seldom = careless
	}
	if r.Kind == Get || c.r.IntN(seldom) > 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(c.r.IntN(int(shortly))))
}

type object = map[string]any

// spell is a request in HTTP.
func (c *client) spell(r Request) (method, path string, body any, headers []string) {
	switch r.Kind {
	case Get:
		method, path = http.MethodGet, "/preferences?domain=accounts"
	case Replace:
		items := make([]object, len(r.Items))
		for i, it := range r.Items {
			items[i] = entry(it, 0)
		}
		method, path, body = http.MethodPut, "/preferences:batchReplace", object{"domain": "accounts", "preferences": items}
	case Create:
		add := entry(r.Items[0], r.Order)
		add["domain"] = "accounts"
		method, path, body = http.MethodPost, "/preferences", add
	case Patch:
		patch := entry(Item{Mark: r.Mark}, r.Order)
		delete(patch, "entityId")
		method, path, body = http.MethodPatch, "/preferences/"+r.Item, patch
	case Delete:
		method, path = http.MethodDelete, "/preferences/"+r.Item
	case Stated, Swept, Spared, over:
	}
	if r.If == nil {
		return method, path, body, nil
	}
	name, tag := "If-Match", c.known.ETag
	if r.Kind == Get {
		name = "If-None-Match"
	}
	for _, p := range c.known.Preferences {
		if p.ID == r.Item {
			tag = p.ETag
		}
	}
	return method, path, body, []string{name, `"` + tag + `"`}
}

// entry is an item as requests describe it.
func entry(it Item, order int) object {
	out := object{"entityId": it.Entity}
	if it.Mark != 0 {
		out["attributes"] = object{"isFavorite": true, "mark": it.Mark}
	}
	if order != 0 {
		out["order"] = order
	}
	return out
}

// understand reads the answer to a request that was done.
func (c *client) understand(r Request, res prefstest.Answer) (Answer, error) {
	a := Answer{Status: res.Status}
	switch {
	case len(res.Body) == 0:
		return a, nil
	case r.Kind == Get || r.Kind == Replace:
		var l prefstest.List
		if err := res.JSON(&l); err != nil {
			return a, err
		}
		a.Version, a.Tag = l.Version, l.ETag
		for _, s := range l.Skipped {
			a.Skipped = append(a.Skipped, s.EntityID)
		}
		for _, p := range l.Preferences {
			it, err := itemOf(p)
			if err != nil {
				return a, err
			}
			a.Items = append(a.Items, it)
		}
		c.known = l
		return a, nil
	default:
		var p prefstest.Preference
		if err := res.JSON(&p); err != nil {
			return a, err
		}
		it, err := itemOf(p)
		a.Items = []Item{it}
		return a, err
	}
}

func itemOf(p prefstest.Preference) (Item, error) {
	var attributes struct{ Mark int }
	err := json.Unmarshal(p.Attributes, &attributes)
	return Item{ID: p.ID, Entity: p.EntityID, Order: p.Order, Mark: attributes.Mark}, err
}

// choose is what the client wants next. Half of the writes hold on to what it
// saw last.
func (c *client) choose() Request {
	out := Request{Kind: Get}
	if c.known.ETag == "" {
		return out
	}
	mine := c.known.Preferences
	switch n := c.r.IntN(20); {
	case n < 9:
	case n < 13:
		out.Kind, out.Items = Replace, c.wanted()
	case n < 15 || len(mine) == 0:
		out.Kind, out.Items = Create, []Item{{Entity: c.list.entities[c.r.IntN(len(c.list.entities))], Mark: c.mark()}}
		if c.r.IntN(2) == 0 {
			out.Order = 1 + c.r.IntN(len(mine)+1)
		}
	default:
		out.Item, out.Kind = mine[c.r.IntN(len(mine))].ID, Patch
		switch {
		case n < 17:
			out.Mark = c.run.marks()
		case n < 19:
			out.Order = 1 + c.r.IntN(len(mine))
		default:
			out.Kind = Delete
		}
	}
	if c.r.IntN(2) == 0 {
		seen := c.known.Version
		out.If = &seen
	}
	return out
}

// wanted is some of the entities in any order.
func (c *client) wanted() []Item {
	const most = 6
	out := make([]Item, 1+c.r.IntN(most))
	for i, n := range c.r.Perm(len(c.list.entities))[:len(out)] {
		out[i] = Item{Entity: c.list.entities[n], Mark: c.mark()}
	}
	return out
}

// mark gives one item of four new attributes.
func (c *client) mark() int {
	if c.r.IntN(4) > 0 {
		return 0
	}
	return c.run.marks()
}
