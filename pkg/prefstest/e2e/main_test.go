// Package e2e starts the product as its users do and lives through the
// scenarios of its users, over HTTP and Kafka.
package e2e

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/client"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

// tab is a browser tab of a user: a client of the API, and the means to send what
// that would not.
type tab struct {
	*client.Client
	raw *prefstest.Caller
	t   *testing.T
}

func open(t *testing.T, base, token string) tab {
	t.Helper()
	raw := prefstest.NewCaller(base, token)
	t.Cleanup(raw.Close)
	c, err := client.New(client.Config{BaseURL: base, Token: client.StaticToken(token), HTTP: raw.HTTP})
	require.NoError(t, err)
	return tab{c, raw, t}
}

// send expects an answer with that status.
func (b tab) send(want int, method, path string, body any, headers ...string) prefstest.Answer {
	b.t.Helper()
	answer, err := b.raw.Do(b.t.Context(), method, path, body, headers...)
	require.NoError(b.t, err)
	require.Equal(b.t, want, answer.Status, "%s %s: %s", method, path, answer.Body)
	return answer
}

// list reads the accounts list.
func (b tab) list() *client.List {
	b.t.Helper()
	l, err := b.List(b.t.Context(), "accounts")
	require.NoError(b.t, err)
	return l
}

// save replaces the accounts list.
func (b tab) save(items []client.Item, opts ...client.Option) *client.Saved {
	b.t.Helper()
	saved, err := b.Save(b.t.Context(), "accounts", items, opts...)
	require.NoError(b.t, err)
	return saved
}

// inOrder are items to save, as a UI numbers them.
func inOrder(entities ...string) []client.Item {
	items := make([]client.Item, len(entities))
	for i, e := range entities {
		order := i + 1
		items[i] = client.Item{EntityID: e, Order: &order}
	}
	return items
}

// with gives all items these attributes.
func with(attributes client.Attributes, items []client.Item) []client.Item {
	for i := range items {
		items[i].Attributes = &attributes
	}
	return items
}

// orders are "entity:order" as a UI shows them.
func orders(ps []client.Preference) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = fmt.Sprintf("%s:%d", p.EntityID, p.Order)
	}
	return out
}

func entities(ps []client.Preference) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.EntityID
	}
	return out
}

// gone waits until an account is in the list no more.
func (b tab) gone(account string) *client.List {
	b.t.Helper()
	var l *client.List
	prefstest.Eventually(b.t, prefstest.Patience, account+" leaves the list", func() bool {
		l = b.list()
		return !slices.Contains(entities(l.Preferences), account)
	})
	return l
}
