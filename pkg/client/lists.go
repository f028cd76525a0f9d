package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/prefsd/prefsd/pkg/client/wire"
	"github.com/prefsd/prefsd/pkg/retry"
)

// kept is an answer that an unchanged list is read from again.
type kept struct {
	etag string // as the header has it
	body []byte
}

// maxKept bounds the lists that are kept: a user has one in each domain.
const maxKept = 16

// List reads the user's list in a domain. One that was never saved is empty.
func (c *Client) List(ctx context.Context, domain string) (*List, error) {
	c.mu.Lock()
	known, ok := c.kept[domain]
	c.mu.Unlock()
	params := &wire.ListPreferencesParams{Domain: domain}
	if ok {
		params.IfNoneMatch = &known.etag
	}
	res, err := c.wire.ListPreferences(ctx, params)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if !ok || res.StatusCode != http.StatusNotModified {
		if err := expect(res, http.StatusOK); err != nil {
			return nil, err
		}
		if known.body, err = io.ReadAll(res.Body); err != nil {
			return nil, err
		}
		known.etag = res.Header.Get("ETag")
		c.keep(domain, known)
	}
	l := new(List) // decoded each time: what the caller does to it is the caller's
	if err := json.Unmarshal(known.body, l); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return l, nil
}

func (c *Client) keep(domain string, k kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.kept[domain]; !there && len(c.kept) >= maxKept {
		clear(c.kept)
	}
	c.kept[domain] = k
}

// Save makes a list equal to the items, in their order. Items without attributes
// keep those that are stored.
func (c *Client) Save(ctx context.Context, domain string, items []Item, opts ...Option) (*Saved, error) {
	if items == nil {
		items = []Item{} // null would not mean: remove all
	}
	body := wire.ReplaceRequest{Domain: domain, Preferences: items}
	return call[Saved](ctx, c, http.StatusOK, opts...)(wire.NewBatchReplacePreferencesRequest(c.base, &wire.BatchReplacePreferencesParams{}, body))
}

// Items are those of a list, as Save takes them.
func Items(l *List) []Item {
	out := make([]Item, len(l.Preferences))
	for i, p := range l.Preferences {
		out[i] = Item{EntityID: p.EntityID, EntityType: &p.EntityType, Attributes: &p.Attributes}
	}
	return out
}

// maxMerges is how often others may be faster before Edit gives up.
const maxMerges = 20

// Waits before a merge is tried again.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

// Edit changes a list together with others: it reads the list, lets merge say
// what it should be, and saves that if the list is still the one that was read.
// If it is not, merge is called again with the new one. A merge that returns an
// error ends the edit with it.
func (c *Client) Edit(ctx context.Context, domain string, merge func(current *List) ([]Item, error), opts ...Option) (*Saved, error) {
	return merged(ctx, func() (*Saved, error) {
		current, err := c.List(ctx, domain)
		if err != nil {
			return nil, err
		}
		etag := current.Etag
		items, err := merge(current)
		if err != nil {
			return nil, err
		}
		return c.Save(ctx, domain, items, append(opts[:len(opts):len(opts)], IfMatch(etag))...)
	})
}

// merged tries until nobody was faster.
func merged[T any](ctx context.Context, try func() (*T, error)) (*T, error) {
	for n := 1; ; n++ {
		out, err := try()
		if !errors.Is(err, ErrChanged) || n == maxMerges {
			return out, err
		}
		if err := retry.Wait(ctx, retry.Delay(n, leastPause, mostPause)); err != nil {
			return nil, err
		}
	}
}

// Restore makes a list what it was in an earlier version, less what has been
// deleted since. A version that is not kept any more is ErrGone.
func (c *Client) Restore(ctx context.Context, domain string, version int64, opts ...Option) (*Saved, error) {
	body := wire.RestoreRequest{Domain: domain, Version: version}
	return call[Saved](ctx, c, http.StatusOK, opts...)(wire.NewRestorePreferencesRequest(c.base, &wire.RestorePreferencesParams{}, body))
}

// History goes through the changes of a list, the newest first. It ends with the
// first error.
func (c *Client) History(ctx context.Context, domain string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		params := &wire.ListPreferenceHistoryParams{Domain: domain}
		for {
			page, err := call[wire.History](ctx, c, http.StatusOK)(wire.NewListPreferenceHistoryRequest(c.base, params))
			if err != nil {
				yield(Change{}, err)
				return
			}
			for _, change := range page.Changes {
				if !yield(change, nil) {
					return
				}
			}
			if page.NextPageToken == nil {
				return
			}
			params.PageToken = page.NextPageToken
		}
	}
}
