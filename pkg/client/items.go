package client

import (
	"context"
	"net/http"

	"github.com/prefsd/prefsd/pkg/client/wire"
)

// Item reads one item.
func (c *Client) Item(ctx context.Context, id string) (*Preference, error) {
	return call[Preference](ctx, c, http.StatusOK)(wire.NewGetPreferenceRequest(c.base, id, &wire.GetPreferenceParams{}))
}

// Add adds an item to a list. IfMatch means the tag of the list.
func (c *Client) Add(ctx context.Context, item NewItem, opts ...Option) (*Preference, error) {
	return call[Preference](ctx, c, http.StatusCreated, opts...)(wire.NewCreatePreferenceRequest(c.base, &wire.CreatePreferenceParams{}, item))
}

// Change patches an item: attributes are merged (RFC 7396), so that nil removes
// one; an order moves it.
func (c *Client) Change(ctx context.Context, id string, patch Patch, opts ...Option) (*Preference, error) {
	return call[Preference](ctx, c, http.StatusOK, opts...)(wire.NewUpdatePreferenceRequestWithApplicationMergePatchPlusJSONBody(c.base, id, &wire.UpdatePreferenceParams{}, patch))
}

// EditItem changes an item together with others, as Edit does a list.
func (c *Client) EditItem(ctx context.Context, id string, merge func(current *Preference) (Patch, error), opts ...Option) (*Preference, error) {
	return merged(ctx, func() (*Preference, error) {
		current, err := c.Item(ctx, id)
		if err != nil {
			return nil, err
		}
		etag := current.Etag
		patch, err := merge(current)
		if err != nil {
			return nil, err
		}
		return c.Change(ctx, id, patch, append(opts[:len(opts):len(opts)], IfMatch(etag))...)
	})
}

// ChangeItems patches several items of a list, all or none. Those with an order
// stand exactly there afterwards. IfMatch means the tag of the list; each patch
// may have a tag of its own.
func (c *Client) ChangeItems(ctx context.Context, domain string, patches []ItemPatch, opts ...Option) (*Saved, error) {
	body := wire.BatchUpdateRequest{Domain: domain, Updates: patches}
	return call[Saved](ctx, c, http.StatusOK, opts...)(wire.NewBatchUpdatePreferencesRequest(c.base, &wire.BatchUpdatePreferencesParams{}, body))
}

// EditItems changes several items of a list together with others, as Edit does
// the whole list.
func (c *Client) EditItems(ctx context.Context, domain string, merge func(current *List) ([]ItemPatch, error), opts ...Option) (*Saved, error) {
	return merged(ctx, func() (*Saved, error) {
		current, err := c.List(ctx, domain)
		if err != nil {
			return nil, err
		}
		etag := current.Etag
		patches, err := merge(current)
		if err != nil {
			return nil, err
		}
		return c.ChangeItems(ctx, domain, patches, append(opts[:len(opts):len(opts)], IfMatch(etag))...)
	})
}

// Remove removes an item. The gap closes.
func (c *Client) Remove(ctx context.Context, id string, opts ...Option) error {
	_, err := call[struct{}](ctx, c, http.StatusNoContent, opts...)(wire.NewDeletePreferenceRequest(c.base, id, &wire.DeletePreferenceParams{}))
	return err
}
