package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/client"
)

const (
	seedersAtOnce = 8
	longestSeeded = 20 // items of a demo user's list
)

// seeder gives demo users a list over the API, as they would save one themselves.
type seeder struct {
	env      *environment
	http     *http.Client
	accounts []string
}

// seedUsers gives each demo user who has none a list. Lists that are there stay
// as they are, so a second start changes nothing.
func (e *environment) seedUsers(ctx context.Context) error {
	if e.cfg.Users == 0 {
		return nil
	}
	e.progress("saving lists of %d demo users", e.cfg.Users)
	transport := &http.Transport{MaxIdleConnsPerHost: seedersAtOnce}
	defer transport.CloseIdleConnections()
	s := &seeder{env: e, http: &http.Client{Transport: transport}}
	if err := s.readAccounts(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(seedersAtOnce)
	for n := range e.cfg.Users {
		g.Go(func() error { return s.save(ctx, n+1) })
	}
	return g.Wait()
}

func (s *seeder) readAccounts(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.env.url(placeAccounts)+"/accounts", http.NoBody)
	if err != nil {
		return fmt.Errorf("read the demo accounts: %w", err)
	}
	var body struct {
		Accounts []struct {
			ID string `json:"id"`
		} `json:"accounts"`
	}
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("read the demo accounts: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return fmt.Errorf("read the demo accounts: %d: %w", response.StatusCode, err)
	}
	for _, a := range body.Accounts {
		s.accounts = append(s.accounts, a.ID)
	}
	return nil
}

// list is the same for a user in every run.
func (s *seeder) list(n int) []client.Item {
	random := rand.New(rand.NewPCG(uint64(n), 0)) //nolint:gosec // a demo's lists are no secret
	items := []client.Item{}
	for _, i := range random.Perm(len(s.accounts)) {
		attributes := client.Attributes{}
		if random.IntN(4) == 0 {
			attributes["isFavorite"] = true
		}
		items = append(items, client.Item{EntityID: s.accounts[i], Attributes: &attributes})
		if len(items) > random.IntN(longestSeeded) {
			break
		}
	}
	return items
}

func (s *seeder) save(ctx context.Context, n int) error {
	user := fmt.Sprintf("user-%05d", n)
	token, err := s.env.key.Sign(auth.Grant{Subject: user})
	if err != nil {
		return fmt.Errorf("sign the token of %s: %w", user, err)
	}
	prefs, err := client.New(client.Config{BaseURL: s.env.url(placeAPI), Token: client.StaticToken(token), HTTP: s.http})
	if err == nil {
		_, err = prefs.Save(ctx, "accounts", s.list(n), client.IfNew())
	}
	if err != nil && !errors.Is(err, client.ErrChanged) {
		return fmt.Errorf("save the list of %s: %w", user, err)
	}
	return nil
}
