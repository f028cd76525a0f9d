// Package e2e starts the product as its users do and lives through the
// scenarios of its users, over HTTP and Kafka.
package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

// tab is a browser tab of a user.
type tab struct {
	*prefstest.Caller
	t *testing.T
}

func open(t *testing.T, base, token string) tab {
	t.Helper()
	c := prefstest.NewCaller(base, token)
	t.Cleanup(c.Close)
	return tab{c, t}
}

// send expects an answer with that status.
func (b tab) send(want int, method, path string, body any, headers ...string) prefstest.Answer {
	b.t.Helper()
	answer, err := b.Do(b.t.Context(), method, path, body, headers...)
	require.NoError(b.t, err)
	require.Equal(b.t, want, answer.Status, "%s %s: %s", method, path, answer.Body)
	return answer
}

// list reads the accounts list.
func (b tab) list() prefstest.List {
	b.t.Helper()
	return asList(b.t, b.send(http.StatusOK, http.MethodGet, "/preferences?domain=accounts&sortBy=order&sortOrder=asc", nil))
}

// save replaces the accounts list.
func (b tab) save(body any, headers ...string) prefstest.List {
	b.t.Helper()
	return asList(b.t, b.send(http.StatusOK, http.MethodPut, "/preferences:batchReplace", body, headers...))
}

func asList(t *testing.T, answer prefstest.Answer) (l prefstest.List) {
	t.Helper()
	require.NoError(t, answer.JSON(&l), "%s", answer.Body)
	// Go's client asks for gzip, and a compressed answer has a tag of its own.
	plain := strings.Replace(answer.Header.Get("ETag"), `-gz"`, `"`, 1)
	require.Equal(t, `"`+l.ETag+`"`, plain, "header and body name one state")
	return l
}

// orders are "entity:order" as a UI shows them.
func orders(l prefstest.List) []string {
	out := make([]string, len(l.Preferences))
	for i, p := range l.Preferences {
		out[i] = fmt.Sprintf("%s:%d", p.EntityID, p.Order)
	}
	return out
}

// gone waits until an account is in the list no more.
func (b tab) gone(account string) prefstest.List {
	b.t.Helper()
	var l prefstest.List
	prefstest.Eventually(b.t, prefstest.Patience, account+" leaves the list", func() bool {
		l = b.list()
		return !strings.Contains(strings.Join(l.Entities(), " "), account)
	})
	return l
}
