package auth_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/fault"
)

var errDown = errors.New("connection refused")

func pass(t *testing.T, v *auth.Verifier, token string) {
	t.Helper()
	p, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, "alice", p.Subject)
}

func refused(t *testing.T, v *auth.Verifier, token string, code fault.Code) {
	t.Helper()
	p, err := v.Verify(t.Context(), token)
	require.Equal(t, code, fault.CodeOf(err), "%v", err)
	require.Equal(t, auth.Principal{}, p)
}

func lasting(t *testing.T, s signer) string {
	t.Helper()
	return s.sign(t, with(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}), nil)
}

func TestStartDoesNotNeedTheProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil)), down: errDown}
		v := newVerifier(t, p, nil)
		start(t, v)
		synctest.Wait()
		require.Equal(t, fault.Unavailable, fault.CodeOf(v.Ready(t.Context())))
		refused(t, v, lasting(t, keyring()["ed"]), fault.Unavailable)

		p.set(func(p *provider) { p.down = nil })
		<-time.After(auth.DefaultRetryEvery)
		synctest.Wait()
		require.NoError(t, v.Ready(t.Context()))
		pass(t, v, lasting(t, keyring()["ed"]))
	})
}

func TestTheFirstTokenFetchesTheKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil))}
		v := newVerifier(t, p, nil)
		pass(t, v, lasting(t, keyring()["ed"]))
		require.Equal(t, 1, p.count())
	})
}

func TestKnownKeysOutliveAnOutageForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil))}
		v := newVerifier(t, p, nil)
		start(t, v)
		first := lasting(t, keyring()["ed"])
		pass(t, v, first)

		p.set(func(p *provider) { p.down = errDown })
		<-time.After(auth.DefaultMaxStale - time.Hour)
		synctest.Wait()
		pass(t, v, first)
		pass(t, v, lasting(t, keyring()["ed"]))
		require.NoError(t, v.Ready(t.Context()))
		// Whether this key is new or invented, nobody can say now.
		refused(t, v, lasting(t, keyring()["next"]), fault.Unavailable)

		<-time.After(2 * time.Hour)
		synctest.Wait()
		refused(t, v, first, fault.Unavailable)
		require.Equal(t, fault.Unavailable, fault.CodeOf(v.Ready(t.Context())))

		p.set(func(p *provider) { p.down = nil })
		<-time.After(auth.DefaultRetryEvery)
		synctest.Wait()
		pass(t, v, first)
	})
}

func TestAKeySetThatMakesNoSenseIsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil))}
		v := newVerifier(t, p, nil)
		start(t, v)
		token := lasting(t, keyring()["ed"])
		pass(t, v, token)
		for _, body := range []string{``, `<html>`, `{}`, `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `[]`} {
			p.set(func(p *provider) { p.body = []byte(body) })
			<-time.After(auth.DefaultRefreshEvery)
			synctest.Wait()
			pass(t, v, token)
			refused(t, v, lasting(t, keyring()["next"]), fault.Unavailable)
		}
	})
}

func TestRotationIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil))}
		v := newVerifier(t, p, nil)
		start(t, v)
		synctest.Wait()
		before, after := lasting(t, keyring()["ed"]), lasting(t, keyring()["next"])
		pass(t, v, before)

		// Fifty requests come with the new key while it is being fetched.
		block := make(chan struct{})
		p.set(func(p *provider) { p.body, p.block = keySet(keyring()["next"].jwk(nil)), block })
		fetches := p.count()
		errs := make(chan error, 50)
		for range cap(errs) {
			go func() {
				_, err := v.Verify(t.Context(), after)
				errs <- err
			}()
		}
		synctest.Wait()
		pass(t, v, before) // known tokens do not wait
		close(block)
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
		require.Equal(t, fetches+1, p.count())
		// The old key is gone, and what it had verified with it.
		refused(t, v, before, fault.Unauthenticated)
	})
}

func TestAWithdrawnKeyDiesWithTheNextRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil), keyring()["next"].jwk(nil))}
		v := newVerifier(t, p, nil)
		start(t, v)
		token := lasting(t, keyring()["ed"])
		pass(t, v, token)
		p.set(func(p *provider) { p.body = keySet(keyring()["next"].jwk(nil)) })
		<-time.After(auth.DefaultRefreshEvery)
		synctest.Wait()
		refused(t, v, token, fault.Unauthenticated)
	})
}

func TestInventedKeyIdsCostOneFetchAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{body: keySet(keyring()["ed"].jwk(nil))}
		v := newVerifier(t, p, nil)
		start(t, v)
		synctest.Wait()
		began := time.Now()
		for range 100 {
			refused(t, v, keyring()["unknown"].sign(t, with(nil), nil), fault.Unauthenticated)
		}
		require.Equal(t, 2, p.count())
		require.Zero(t, time.Since(began), "nobody waits")
		<-time.After(auth.DefaultUnknownEvery)
		refused(t, v, keyring()["unknown"].sign(t, with(nil), nil), fault.Unauthenticated)
		require.Equal(t, 3, p.count())
	})
}

func TestWhoWaitsForAFetchCanLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		p := &provider{body: keySet(keyring()["ed"].jwk(nil)), block: block}
		v := newVerifier(t, p, nil)
		token := lasting(t, keyring()["ed"])
		// The one who fetches hangs up, which must not spoil it for the other.
		first, hangUp := context.WithCancel(t.Context())
		firstErr := make(chan error, 1)
		go func() {
			_, err := v.Verify(first, token)
			firstErr <- err
		}()
		synctest.Wait()
		impatient, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := v.Verify(impatient, token)
		require.Equal(t, fault.Unavailable, fault.CodeOf(err))
		hangUp()
		synctest.Wait()
		close(block)
		require.NoError(t, <-firstErr)
		pass(t, v, token)
		require.Equal(t, 1, p.count())
	})
}

func TestASlowProviderIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &provider{block: make(chan struct{})}
		v := newVerifier(t, p, nil)
		began := time.Now()
		refused(t, v, lasting(t, keyring()["ed"]), fault.Unavailable)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestOutagesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &provider{body: keySet(keyring()["ed"].jwk(nil)), down: errDown}
		v, err := auth.NewVerifier(auth.Config{
			Issuer: issuer, Audience: audience, JWKSURL: "https://idp.example/keys", Client: &http.Client{Transport: p},
		}, slog.New(slog.NewTextHandler(&out, nil)))
		require.NoError(t, err)
		start(t, v)
		<-time.After(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(out.String(), "keys cannot be fetched"))
		p.set(func(p *provider) { p.down = nil })
		<-time.After(time.Hour)
		p.set(func(p *provider) { p.down = errDown })
		<-time.After(time.Hour)
		p.set(func(p *provider) { p.down = nil })
		<-time.After(time.Hour)
		synctest.Wait()
		require.Equal(t, 2, strings.Count(out.String(), "keys cannot be fetched"))
		require.Equal(t, 1, strings.Count(out.String(), "keys were fetched"))
		require.Equal(t, 1, strings.Count(out.String(), "keys can be fetched again"))
	})
}

// The rest speaks HTTP.
func overHTTP(t *testing.T, handler http.HandlerFunc) *auth.Verifier {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	v, err := auth.NewVerifier(auth.Config{Issuer: issuer, Audience: audience, JWKSURL: server.URL + "/keys"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return v
}

func TestKeysComeOverHTTP(t *testing.T) {
	t.Parallel()
	accept := make(chan string, 1)
	v := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		accept <- r.Header.Get("Accept")
		_, _ = w.Write(allKeys())
	})
	pass(t, v, lasting(t, keyring()["rsa"]))
	require.Contains(t, <-accept, "application/jwk-set+json")
}

func TestAnswersThatAreNoKeySet(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			_, _ = w.Write(allKeys())
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(allKeys())
			_, _ = io.WriteString(w, strings.Repeat(" ", 1<<20))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(allKeys())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := overHTTP(t, handler)
			refused(t, v, lasting(t, keyring()["ed"]), fault.Unavailable)
		})
	}
}
