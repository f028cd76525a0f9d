package client

import (
	"context"
	"net/http"

	"github.com/prefsd/prefsd/pkg/client/wire"
)

// What a deployment says about itself.
type (
	// Info is which program it is, its domains, its limits and what may be relied on.
	Info = wire.Info
	// Status is how its delivery, its consumers and its long work stand.
	Status = wire.Status
)

// Info reads what the deployment is and allows. It needs no token.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	return call[Info](ctx, c, http.StatusOK)(wire.NewGetInfoRequest(c.base, &wire.GetInfoParams{}))
}

// Status reads how the deployment stands. It needs the scope preferences.system
// or preferences.admin.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, http.StatusOK)(wire.NewGetStatusRequest(c.base, &wire.GetStatusParams{}))
}
