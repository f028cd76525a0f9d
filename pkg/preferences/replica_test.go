package preferences

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
)

// copyOf is a replica that holds one version of every list, or none.
type copyOf struct {
	version int64
	err     error
	asked   int
}

func (c *copyOf) Head(_ context.Context, userID, domain string) (List, error) {
	c.asked++
	return List{ID: 1, UserID: userID, Domain: domain, Version: c.version}, c.err
}

func (c *copyOf) List(ctx context.Context, key Key) (List, error) {
	return c.Head(ctx, key.UserID, key.Domain)
}

// TestAReplicaAnswersOnlyWhoIsContentWithIt: those who name a version that it has
// reached, and nobody else; one that fails is left alone for a while.
func TestAReplicaAnswersOnlyWhoIsContentWithIt(t *testing.T) {
	t.Parallel()
	behind, primary := &copyOf{version: 3}, &copyOf{version: 5}
	now := start
	s := New(Options{Replica: behind, Now: func() time.Time { return now }})
	read := func(ctx context.Context, least int64) (int64, error) {
		l, err := s.atLeast(ctx, "accounts", least, func(ctx context.Context, from Reader) (List, error) {
			if from == Reader(s.store) {
				from = primary
			}
			return from.Head(ctx, "alice", "accounts")
		})
		return l.Version, err
	}
	for least, want := range map[int64]int64{AnyVersion: 5, 0: 3, 3: 3, 4: 5, 5: 5} {
		got, err := read(t.Context(), least)
		require.NoError(t, err)
		require.Equal(t, want, got, "at least %d", least)
	}
	_, err := read(t.Context(), 6)
	require.Equal(t, fault.ReasonNotFound, fault.ReasonOf(err))

	behind.err, behind.asked = errors.New("away"), 0
	for range 3 {
		got, err := read(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, int64(5), got)
	}
	require.Equal(t, 1, behind.asked, "a replica that fails is not asked at once again")
	behind.err, now = nil, now.Add(replicaRest)
	got, err := read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, int64(3), got)
	_, err = s.HeadAtLeast(t.Context(), "alice", "contacts", 1)
	require.Equal(t, fault.ReasonUnknownDomain, fault.ReasonOf(err))
}
