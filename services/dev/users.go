package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/auth"
)

const (
	seedersAtOnce = 8
	longestSeeded = 20 // items of a demo user's list
)

// seeder gives demo users a list over the API, as they would save one themselves.
type seeder struct {
	env      *environment
	client   *http.Client
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
	s := &seeder{env: e, client: &http.Client{Transport: transport}}
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
	status, text, err := s.do(request)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil {
		return fmt.Errorf("read the demo accounts: %d: %w", status, err)
	}
	for _, a := range body.Accounts {
		s.accounts = append(s.accounts, a.ID)
	}
	return nil
}

type savedItem struct {
	EntityID   string          `json:"entityId"`
	Attributes map[string]bool `json:"attributes"`
}

// list is the same for a user in every run.
func (s *seeder) list(n int) []savedItem {
	random := rand.New(rand.NewPCG(uint64(n), 0)) //nolint:gosec // a demo's lists are no secret
	items := []savedItem{}
	for _, i := range random.Perm(len(s.accounts)) {
		item := savedItem{EntityID: s.accounts[i], Attributes: map[string]bool{}}
		if random.IntN(4) == 0 {
			item.Attributes["isFavorite"] = true
		}
		items = append(items, item)
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
	body, err := json.Marshal(map[string]any{"domain": "accounts", "preferences": s.list(n)})
	if err != nil {
		return fmt.Errorf("encode the list of %s: %w", user, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, s.env.url(placeAPI)+"/preferences:batchReplace", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("save the list of %s: %w", user, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("If-None-Match", "*") // only where there is no list yet
	status, text, err := s.do(request)
	if err != nil {
		return fmt.Errorf("save the list of %s: %w", user, err)
	}
	if status != http.StatusOK && status != http.StatusPreconditionFailed {
		return fmt.Errorf("save the list of %s: %d: %s", user, status, text)
	}
	return nil
}

func (s *seeder) do(request *http.Request) (status int, body []byte, err error) {
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
