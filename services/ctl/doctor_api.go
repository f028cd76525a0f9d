package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/client/wire"
)

// api looks at the deployment as its callers do.
func (c *checkup) api(ctx context.Context) {
	if c.APIURL == "" {
		c.say("api", skipped, "no address of the API is given", "name it in PREFS_API_URL")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	config := client.Config{BaseURL: c.APIURL, Attempts: 1}
	token := c.APIToken.Reveal()
	if token != "" {
		config.Token = client.StaticToken(token)
	}
	api, err := client.New(config)
	if err == nil {
		err = c.info(ctx, api)
	}
	switch {
	case err != nil:
		c.say("api", failure, err.Error(), "see that an api runs and that PREFS_API_URL leads to it")
	case token == "":
		c.say("status", skipped, "no token is given", "PREFS_API_TOKEN, with the scope preferences.system")
	default:
		c.status(ctx, api)
	}
}

// info asks the API who it is.
func (c *checkup) info(ctx context.Context, api *client.Client) error {
	began := c.now()
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	const slow = time.Second
	took := c.now().Sub(began)
	c.judge("api", fmt.Sprintf("%s %s answered within %s", info.Name, info.Version, took.Round(time.Millisecond)),
		complaint{took > slow, worry, "", "see the way to it, and whether requests wait: prefs_http_lane_requests"})
	return nil
}

// status asks the API how the deployment stands. That takes a token, a place
// among the requests at work and the database: all that other requests need.
func (c *checkup) status(ctx context.Context, api *client.Client) {
	s, err := api.Status(ctx)
	switch {
	case errors.Is(err, client.ErrUnauthenticated), errors.Is(err, client.ErrDenied):
		c.say("status", failure, err.Error(), "see PREFS_API_TOKEN, and PREFS_AUTH_ISSUER and PREFS_AUTH_AUDIENCE of the api")
		return
	case err != nil:
		c.say("status", failure, err.Error(), "the api is there and cannot answer: see its log, and the database")
		return
	}
	c.judge("status", "it reads how the deployment stands; consumption is "+string(s.Consumption),
		complaint{s.Consumption == wire.Stale, worry, "", "see that a consumer runs and reaches the brokers"})
	last := s.Verification.LastReport
	if last == nil {
		c.say("verification", skipped, "nobody has looked at the whole database yet", "see PREFS_VERIFY_SCHEDULE, or POST /operations:verify")
		return
	}
	c.judge("verification", fmt.Sprintf("%d violations, %s, %s", last.Summary.Violations, last.EndTime.Format(time.DateTime), last.State),
		complaint{last.Summary.Violations > 0, failure, "", "prefsctl verify names them; see docs/runbooks/PrefsPromiseBroken.md"},
		complaint{!last.Summary.Sound, worry, "", "it was broken off: prefsctl operations show " + last.Operation})
}
