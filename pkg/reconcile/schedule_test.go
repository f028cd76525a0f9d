package reconcile_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
)

func TestScheduleKnowsWhenItWasDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 10, 20, 30, 0, time.UTC)
	for expression, want := range map[string]time.Time{
		"17 3 * * *":   time.Date(2026, 5, 4, 3, 17, 0, 0, time.UTC),
		"*/15 * * * *": time.Date(2026, 5, 4, 10, 15, 0, 0, time.UTC),
		"20 10 * * *":  time.Date(2026, 5, 4, 10, 20, 0, 0, time.UTC),
		"21 10 * * *":  time.Date(2026, 5, 3, 10, 21, 0, 0, time.UTC),
		"@daily":       time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC),
		"0 0 1 * *":    {}, // three days ago
	} {
		s, err := reconcile.ParseSchedule(expression)
		require.NoError(t, err)
		require.Equal(t, want, s.Due(now), expression)
	}
	for _, wrong := range []string{"", "soon", "61 * * * *", "* * * * * *"} {
		_, err := reconcile.ParseSchedule(wrong)
		require.Error(t, err, wrong)
	}
}

// otherClock is a calendar that goes by a clock of its own.
type otherClock struct {
	now   time.Time
	ticks chan time.Time
}

func (c otherClock) Now(context.Context) (time.Time, error) { return c.now, nil }

func (c otherClock) Tick(_ context.Context, _ string, due time.Time, _ preferences.OperationKind, _ json.RawMessage) (bool, error) {
	c.ticks <- due
	return true, nil
}

// TestAScheduleGoesByTheCalendarsClock: whatever that of the replica shows.
func TestAScheduleGoesByTheCalendarsClock(t *testing.T) {
	t.Parallel()
	s, err := reconcile.ParseSchedule("17 3 * * *")
	require.NoError(t, err)
	calendar := otherClock{time.Date(2031, 5, 4, 3, 17, 1, 0, time.UTC), make(chan time.Time, 1)}
	s.Calendar, s.Log = calendar, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	s.Begun = cancel
	require.NoError(t, s.Run(ctx))
	require.Equal(t, time.Date(2031, 5, 4, 3, 17, 0, 0, time.UTC), <-calendar.ticks)
}

func TestOneOfAllReplicasGetsATick(t *testing.T) {
	t.Parallel()
	h := open(t, &owner{}, soon)
	tick := func(due time.Time) bool {
		begun, err := h.store.Tick(t.Context(), "reconcile", due, preferences.KindReconcile, json.RawMessage(`{}`))
		require.NoError(t, err)
		return begun
	}
	require.False(t, tick(time.Now().Add(-time.Hour)), "what was due before anybody knew of the schedule is not made up for")
	due := time.Now().Add(time.Second)
	var begun atomic.Int64
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if tick(due) {
				begun.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, begun.Load())
	require.Equal(t, 1, h.count(t, "select count(*) from operations where kind = 'reconcile' and actor = 'schedule:reconcile'"))
	require.False(t, tick(due.Add(time.Hour)), "the last one is still open")
}
