package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// chest holds old keys, and fails at its second look.
type chest struct {
	old     int
	looks   []time.Time
	forgets []time.Duration
}

func (c *chest) ForgetLists(unused time.Duration) { c.forgets = append(c.forgets, unused) }

func (c *chest) PruneKeys(_ context.Context, limit int) (int, error) {
	c.looks = append(c.looks, time.Now())
	if len(c.looks) == 2 {
		return 0, errors.New("away")
	}
	n := min(limit, c.old)
	c.old -= n
	return n, nil
}

func TestOldKeysAreForgottenInChunks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &process{log: slog.New(slog.NewTextHandler(&log, nil))}
		c := &chest{old: 3*forgetChunk + 1}
		ctx, stop := context.WithTimeout(t.Context(), 90*time.Second)
		defer stop()
		began := time.Now()
		require.NoError(t, p.forget(ctx, c))
		require.Zero(t, c.old)
		var at []time.Duration
		for _, look := range c.looks {
			at = append(at, look.Sub(began))
		}
		require.Equal(t, []time.Duration{0, 0, forgetEvery, forgetEvery, forgetEvery}, at)
		require.Contains(t, log.String(), "could not be pruned")
		require.Equal(t, slices.Repeat([]time.Duration{forgetLists}, len(at)), c.forgets)
	})
}
