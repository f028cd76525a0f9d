package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/retry"
)

var errAway = errors.New("away")

func TestDoRepeatsUntilItWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		require.NoError(t, retry.Do(t.Context(), retry.Default(), func(context.Context) error {
			if calls++; calls < 20 {
				return errAway
			}
			return nil
		}))
		require.Equal(t, 20, calls)
	})
}

func TestDoStopsForGood(t *testing.T) {
	t.Parallel()
	calls := 0
	err := retry.Do(t.Context(), retry.Default(), func(context.Context) error {
		calls++
		return retry.Permanent(errAway)
	})
	require.Equal(t, errAway, err)
	require.Equal(t, 1, calls)
	require.NoError(t, retry.Permanent(nil))
}

func TestDoHasOnlySoManyAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := retry.Default()
		p.Attempts = 3
		calls := 0
		err := retry.Do(t.Context(), p, func(context.Context) error {
			calls++
			return errAway
		})
		require.Equal(t, errAway, err)
		require.Equal(t, 3, calls)

		p.Attempts = 1
		err = retry.Do(t.Context(), p, func(context.Context) error { return retry.Permanent(errAway) })
		require.Equal(t, errAway, err)
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		err := retry.Do(ctx, retry.Default(), func(context.Context) error { return errAway })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errAway)
		require.Equal(t, time.Hour, time.Since(began))
	})
}

func TestWaitsGrowToTheirLimitWithFullJitter(t *testing.T) {
	t.Parallel()
	p := retry.Policy{Min: 100 * time.Millisecond, Max: time.Second}
	w := p.Waits()
	for range 3 {
		for _, limit := range []int64{100, 200, 400, 800, 1000, 1000, 1000} {
			require.LessOrEqual(t, w.Next().Milliseconds(), limit)
		}
		w.Reset()
	}
	var least, most time.Duration = time.Hour, 0
	for range 1000 {
		w.Reset()
		wait := w.Next()
		least, most = min(least, wait), max(most, wait)
	}
	require.Less(t, least, 10*time.Millisecond)
	require.Greater(t, most, 90*time.Millisecond)
	require.LessOrEqual(t, retry.Policy{}.Waits().Next(), 3*time.Nanosecond)
}
