package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	sdk "github.com/prefsd/prefsd/pkg/client"
)

// browserCache is a private cache, as RFC 9111 has it, in which nothing grows old
// during a test: what may be kept is given again to whoever asks for the same,
// by the headers that Vary names, and does not insist on asking.
type browserCache struct {
	http.RoundTripper

	mu   sync.Mutex
	kept map[string]keptAnswer
}

type keptAnswer struct {
	asked http.Header
	res   *http.Response
	body  []byte
}

func (b *browserCache) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, known := b.kept[req.URL.String()]
	if known && req.Method == http.MethodGet && req.Header.Get("Cache-Control") == "" && k.fits(req.Header) {
		return k.again(), nil
	}
	res, err := b.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Cache-Control"), "max-age=") {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	k = keptAnswer{req.Header.Clone(), res, body}
	b.kept[req.URL.String()] = k
	return k.again(), err
}

func (k keptAnswer) fits(asks http.Header) bool {
	for _, name := range names(k.res.Header.Get("Vary")) {
		if asks.Get(name) != k.asked.Get(name) {
			return false
		}
	}
	return true
}

func (k keptAnswer) again() *http.Response {
	res := *k.res
	res.Body = io.NopCloser(bytes.NewReader(k.body))
	return &res
}

// TestCase045: a page that reads as browsers do by default sees its old list
// after a save, and nobody else's ever; one that revalidates, and our client, see
// the new one.
func TestCase045_ACacheIsStaleAfterASaveAndOurClientIsNot(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	alice.save("a")
	bob.save("b")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	browser := &http.Client{Transport: &browserCache{RoundTripper: transport, kept: map[string]keptAnswer{}}}
	fetch := func(c caller, h ...string) []string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+accounts, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+c.token)
		for pair := range pairs(h) {
			req.Header.Set(pair[0], pair[1])
		}
		res, err := browser.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		var l list
		answered{res, t, string(text)}.into(&l)
		return idsOf(l)
	}
	require.Equal(t, []string{"a"}, fetch(alice))
	require.Equal(t, []string{"b"}, fetch(bob), "a cache that two users share keeps them apart")
	require.Equal(t, []string{"a"}, fetch(alice))
	alice.save("a", "c")
	require.Equal(t, []string{"a"}, fetch(alice), "for five minutes")
	require.Equal(t, []string{"a", "c"}, fetch(alice, "Cache-Control", "no-cache"))

	ours, err := sdk.New(sdk.Config{BaseURL: w.url, Token: sdk.StaticToken(alice.token), HTTP: browser})
	require.NoError(t, err)
	for _, wanted := range [][]string{{"d"}, {"d", "e"}} {
		alice.save(wanted...)
		l, err := ours.List(t.Context(), "accounts")
		require.NoError(t, err)
		require.Len(t, l.Preferences, len(wanted))
		id := l.Preferences[0].ID
		alice.patch(id, fmt.Sprintf(`{"attributes":{"n":%d}}`, len(wanted))).item(http.StatusOK)
		it, err := ours.Item(t.Context(), id)
		require.NoError(t, err)
		require.EqualValues(t, len(wanted), it.Attributes["n"])
	}
}
