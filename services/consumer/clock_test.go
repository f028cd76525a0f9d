package consumer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/consumer"
)

// ahead sets the clock of the consumer, not that of the database.
func ahead(by time.Duration) change {
	return func(o *consumer.Options) {
		store, ok := o.Store.(*postgres.Store)
		if !ok {
			panic("a house stands on PostgreSQL")
		}
		o.Now = func() time.Time { return time.Now().Add(by) }
		o.Preferences = preferences.New(preferences.Options{Store: store, Announcer: announcer, Now: o.Now})
	}
}

// TestOurOwnClockHasNoSayInWhatOwnersTell: one that is slow makes poison of
// nothing, one that is fast lets nothing pass.
func TestOurOwnClockHasNoSayInWhatOwnersTell(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ours, theirs time.Duration
		want         consumer.Outcome
	}{
		"ours is hours behind":                 {-3 * time.Hour, 0, consumer.Applied},
		"theirs is a little ahead":             {0, 4 * time.Minute, consumer.Applied},
		"theirs is ahead":                      {0, 6 * time.Minute, consumer.DeadLettered},
		"both are hours ahead of the database": {3 * time.Hour, 3 * time.Hour, consumer.DeadLettered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, ahead(tc.ours))
			h.save(t, "u", "acc-1")
			require.Equal(t, tc.want, h.settle(t, event(7, deleted, "e1", "acc-1", time.Now().Add(tc.theirs))))
		})
	}
}
