package auth

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

func named(i int) digest { return sha256.Sum256(fmt.Append(nil, i)) }

func TestTheLeastRecentlyUsedTokenGoes(t *testing.T) {
	t.Parallel()
	c := newTokenCache(3)
	for i := range 3 {
		c.put(named(i), &verifiedToken{principal: Principal{Subject: fmt.Sprint(i)}})
	}
	_, ok := c.get(named(0))
	require.True(t, ok)
	c.put(named(3), &verifiedToken{})
	c.put(named(3), &verifiedToken{})
	require.Equal(t, 3, c.recent.Len())
	require.Len(t, c.entries, 3)
	_, ok = c.get(named(1))
	require.False(t, ok, "1 was used least recently")
	kept, ok := c.get(named(0))
	require.True(t, ok)
	require.Equal(t, "0", kept.principal.Subject)

	c.drop(named(0))
	c.drop(named(0))
	_, ok = c.get(named(0))
	require.False(t, ok)
	require.Equal(t, 2, c.recent.Len())
}

func TestACacheOfNothingKeepsNothing(t *testing.T) {
	t.Parallel()
	c := newTokenCache(-1)
	c.put(named(1), &verifiedToken{})
	_, ok := c.get(named(1))
	require.False(t, ok)
}

func TestTheCacheIsBoundedAndSafe(t *testing.T) {
	t.Parallel()
	c := newTokenCache(10)
	done := make(chan struct{})
	for range 8 {
		go func() {
			for i := range 1000 {
				c.put(named(i%50), &verifiedToken{})
				c.get(named(i % 50))
				c.drop(named(i % 7))
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	require.LessOrEqual(t, c.recent.Len(), 10)
	require.Len(t, c.entries, c.recent.Len())
}

func devVerifier(tb testing.TB) (*DevKey, *Verifier, *tokenCache) {
	tb.Helper()
	key, err := NewDevKey()
	require.NoError(tb, err)
	v, err := NewVerifier(Config{Issuer: DevIssuer, Audience: DevAudience, DevKey: key}, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	keys, err := v.source.current(tb.Context())
	require.NoError(tb, err)
	return key, v, keys.verified
}

func TestARememberedTokenExpiresOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, v, cache := devVerifier(t)
		token, err := key.Sign(Grant{Subject: "alice", Scopes: []string{ScopeSystem}, Lifetime: time.Minute})
		require.NoError(t, err)
		for range 3 {
			p, err := v.Verify(t.Context(), token)
			require.NoError(t, err)
			require.Equal(t, "alice", p.Subject)
			require.True(t, p.Has(ScopeSystem))
		}
		require.Equal(t, 1, cache.recent.Len())

		<-time.After(time.Minute + DefaultLeeway - time.Second)
		_, err = v.Verify(t.Context(), token)
		require.NoError(t, err)
		<-time.After(time.Second)
		for range 2 { // from memory, and read anew
			_, err = v.Verify(t.Context(), token)
			require.Equal(t, fault.Unauthenticated, fault.CodeOf(err))
			require.ErrorContains(t, err, "expired")
			require.Zero(t, cache.recent.Len())
		}
	})
}

func TestRefusedTokensAreNotRemembered(t *testing.T) {
	t.Parallel()
	key, v, cache := devVerifier(t)
	other, err := key.Sign(Grant{Subject: "alice", Audience: "other"})
	require.NoError(t, err)
	for _, token := range []string{other, "x.y.z", ""} {
		_, err := v.Verify(t.Context(), token)
		require.Error(t, err)
	}
	require.Zero(t, cache.recent.Len())
}

func BenchmarkVerify(b *testing.B) {
	key, v, cache := devVerifier(b)
	token, err := key.Sign(Grant{Subject: "alice", Scopes: []string{ScopeSystem}})
	require.NoError(b, err)
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cache.drop(sha256.Sum256([]byte(token)))
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
