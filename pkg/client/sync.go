package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/prefsd/prefsd/pkg/client/wire"
)

// Changes reads what has changed in a list since the answer that the sync token
// came with. ErrGone says that this is not known any more: read the list.
func (c *Client) Changes(ctx context.Context, domain, syncToken string) (*Changes, error) {
	return c.changes(ctx, &wire.ListPreferencesParams{Domain: domain, SyncToken: &syncToken})
}

func (c *Client) changes(ctx context.Context, params *wire.ListPreferencesParams) (*Changes, error) {
	return call[Changes](ctx, c, http.StatusOK)(wire.NewListPreferencesRequest(c.base, params))
}

// Sync returns a list as it is now to a caller who knows an earlier state of it:
// what Sync or List returned before, or nil. Only what has changed since is sent,
// and nothing at all if nothing has; the whole list where there is no other way.
// The earlier state stays as it is; items that have not changed share their
// attributes with it.
func (c *Client) Sync(ctx context.Context, domain string, known *List) (*List, error) {
	if known == nil || known.SyncToken == nil {
		return c.List(ctx, domain)
	}
	tag := `"` + known.Etag + `"`
	changes, err := c.changes(ctx, &wire.ListPreferencesParams{Domain: domain, SyncToken: known.SyncToken, IfNoneMatch: &tag})
	refused := new(Error)
	switch {
	case err == nil:
		return applied(known, changes), nil
	case errors.Is(err, ErrGone):
		return c.List(ctx, domain)
	case errors.As(err, &refused) && refused.Status == http.StatusNotModified:
		return applied(known, &Changes{Etag: known.Etag, Version: known.Version, SyncToken: *known.SyncToken}), nil
	default:
		return nil, err
	}
}

// applied is the list that changes lead to.
func applied(known *List, changes *Changes) *List {
	other := make(map[string]bool, len(changes.Removed)+len(changes.Changed)) // than what is known
	for _, gone := range changes.Removed {
		other[gone.ID] = true
	}
	for _, now := range changes.Changed {
		other[now.ID] = true
	}
	items := make([]Preference, 0, len(known.Preferences)+len(changes.Changed))
	for _, p := range known.Preferences {
		if !other[p.ID] {
			items = append(items, p)
		}
	}
	items = append(items, changes.Changed...)
	slices.SortFunc(items, func(a, b Preference) int { return cmp.Compare(a.Order, b.Order) })
	return &List{
		Preferences: items, TotalSize: len(items), Etag: changes.Etag, Version: changes.Version, SyncToken: &changes.SyncToken,
	}
}
