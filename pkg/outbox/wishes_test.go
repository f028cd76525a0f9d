package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

func TestPauseFinishesWhatIsOnItsWayAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Second }
		relay, _ := b.start(outbox.Config{})
		b.put("u", "v")
		b.pass(time.Second) // both are under way
		b.with(func() { b.paused = true })
		b.pass(500 * time.Millisecond)
		b.put("u")
		b.pass(2 * time.Second)
		require.False(b, relay.Status().Leader)
		require.True(b, relay.Status().Paused)
		require.Empty(b, relay.Status().LastError, "that is no failure")
		require.True(b, b.expires.IsZero(), "the lease is given back")
		require.Equal(b, []string{"u:1", "v:2"}, b.all())
		b.pass(time.Hour)
		require.Len(b, b.all(), 2)
		b.with(func() { b.paused = false })
		b.pass(3 * time.Second)
		require.Equal(b, []string{"u:1", "v:2", "u:3"}, b.all(), "the cursor was stored: nothing comes twice")
		require.False(b, relay.Status().Paused)
	})
}

func TestPauseAtAnyMomentRepeatsNothing(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Millisecond }
		relay, _ := b.start(b.settings())
		const rounds = 60
		for i := range rounds {
			b.backlog(21)
			relay.Poke()
			b.pass(time.Duration(i) * 500 * time.Microsecond)
			b.with(func() { b.paused = true })
			b.pass(time.Second)
			require.False(b, relay.Status().Leader)
			b.with(func() { b.paused = false })
			b.pass(time.Second)
		}
		b.pass(time.Minute)
		require.Len(b, b.all(), rounds*21)
		for i := range 7 {
			require.IsIncreasing(b, b.of(fmt.Sprint("u", i)))
		}
	})
}

func TestPauseDoesNotWaitForASilentBroker(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Hour }
		relay, _ := b.start(outbox.Config{})
		b.put("u")
		b.pass(time.Second)
		b.with(func() { b.paused = true })
		b.pass(6 * time.Second)
		require.False(b, relay.Status().Leader)
		require.True(b, b.expires.IsZero())
	})
}

// decided records a decision about the rows with these ids.
func (b *bench) decided(decision string, ids ...int64) {
	b.with(func() {
		for i := range b.quarantine {
			for _, id := range ids {
				if b.quarantine[i].ID == id {
					b.quarantine[i].decided = decision
				}
			}
		}
	})
}

func TestReleasedRowsComeInTheirOrder(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.answers(refuses("u", true))
		b.put("u", "u", "v", "u")
		b.pass(time.Second)
		require.Len(b, b.quarantine, 3)
		b.answers(nil)
		b.put("u")
		b.pass(time.Second)
		require.Len(b, b.quarantine, 4, "a later one follows")
		b.decided("release", 2, 4, 5)
		b.pass(time.Second)
		require.Empty(b, b.of("u"), "the first of them is undecided")
		b.decided("drop", 1)
		b.begin().put("u").commit()
		b.pass(time.Second)
		require.Equal(b, []int64{2, 4, 5, 6}, b.of("u"))
		require.Zero(b, relay.Status().Quarantined)
		require.Zero(b, relay.Status().OldestAge)
	})
}

func TestDecisionsWaitForTheEndOfABacklog(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		cfg := b.settings()
		relay, _ := b.start(cfg)
		b.answers(refuses("u0", true))
		b.put("u0")
		b.pass(time.Second)
		require.Len(b, b.quarantine, 1)
		b.answers(nil)
		b.decided("release", 1)
		b.latency = func(outbox.Message) time.Duration { return 300 * time.Millisecond }
		b.backlog(210) // in it are later rows of the same subject
		relay.Poke()
		b.pass(time.Minute)
		got := b.of("u0")
		require.Contains(b, got, int64(1))
		require.IsIncreasing(b, got)
		require.Len(b, b.all(), 211-len(b.quarantine))
	})
}
