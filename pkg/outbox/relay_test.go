package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// bench is a table, a broker and relays between them, in a bubble of time.
type bench struct {
	*testing.T
	table
	records
}

// story runs a test in which time passes only while everybody waits.
func story(t *testing.T, tell func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { tell(&bench{T: t}) })
}

// start runs a relay. The function that it returns stops it as a signal does.
func (b *bench) start(cfg outbox.Config) (relay *outbox.Relay, stop func()) {
	b.Helper()
	cfg.EventSource = "/prefsd/test"
	relay, err := outbox.New(&b.table, &b.records, cfg, slog.New(slog.NewTextHandler(b.Output(), nil)))
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := relay.Run(ctx); err != nil {
			b.Errorf("run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	b.Cleanup(stop)
	return relay, stop
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.with(func() {}) // what the test saw came before what happens now
	b.answers(b.answer)
	<-time.After(d)
	synctest.Wait()
}

func TestRowsArePublishedInTheOrderOfIDs(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{})
		b.pass(time.Second)
		first, second := b.begin().put("u"), b.begin().put("v").put("v")
		second.commit() // later ids commit first
		b.pass(time.Second)
		first.put("v").commit()
		b.pass(time.Second)
		require.Equal(b, []string{"v:2", "v:3", "u:1", "v:4"}, b.all())
	})
}

func TestPokeWakesAndPollIsTheNet(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second + 60*time.Millisecond) // between two polls
		b.put("u")
		relay.Poke()
		b.pass(time.Millisecond)
		require.Equal(b, []int64{1}, b.of("u"), "poked: at once")
		b.put("u")
		b.wake()
		b.pass(time.Millisecond)
		require.Equal(b, []int64{1, 2}, b.of("u"), "notified by another process: at once")
		b.put("u")
		b.pass(time.Millisecond)
		require.Len(b, b.of("u"), 2)
		b.pass(250 * time.Millisecond)
		require.Len(b, b.of("u"), 3, "forgotten: at the next poll")
	})
}

func TestSteadyLoadIsPolledInBatches(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		for i := range 2000 { // 1000 a second for 2 seconds
			b.put(fmt.Sprint("u", i%5))
			relay.Poke()
			b.pass(time.Millisecond)
		}
		b.pass(5 * time.Millisecond)
		require.Len(b, b.all(), 2000)
		require.Less(b, b.calls, 2000, "a delivery for each would be many")
		slowest := time.Duration(0)
		for _, m := range b.taken {
			for i := range b.rows {
				if b.rows[i].ID == m.ID {
					slowest = max(slowest, m.at.Sub(b.rows[i].Written))
				}
			}
		}
		require.LessOrEqual(b, slowest, 4*time.Millisecond)
	})
}

func TestOneRelayLeadsAndHandsOver(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		one, stop := b.start(outbox.Config{})
		b.pass(time.Second)
		two, _ := b.start(outbox.Config{})
		b.pass(time.Minute)
		require.True(b, one.Status().Leader)
		require.False(b, two.Status().Leader)
		stop()
		b.pass(250 * time.Millisecond)
		require.True(b, two.Status().Leader, "a lease that is given back is free at once")
		require.Equal(b, int64(2), two.Status().Epoch)
	})
}

func TestLeaseOfADeadRelayIsWaitedFor(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		_, err := b.Claim(b.Context(), "dead", 5*time.Second)
		require.NoError(b, err)
		relay, _ := b.start(outbox.Config{})
		b.pass(4900 * time.Millisecond)
		require.False(b, relay.Status().Leader)
		b.pass(400 * time.Millisecond)
		require.True(b, relay.Status().Leader)
	})
}

func TestPauseStopsTheHolder(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.put("u")
		b.pass(time.Second)
		b.with(func() { b.paused, b.epoch = true, b.epoch+1 })
		b.pass(time.Second)
		require.False(b, relay.Status().Leader)
		b.put("u")
		b.pass(time.Minute)
		require.Equal(b, []int64{1}, b.of("u"))
		require.True(b, relay.Status().Paused)
		require.InDelta(b, 60, relay.Status().OldestAge.Seconds(), 11, "the backlog is visible while nobody leads")
		b.with(func() { b.paused, b.expires = false, time.Time{} })
		b.pass(time.Second)
		require.Equal(b, []int64{1, 2}, b.of("u"))
	})
}

func TestNothingIsPublishedOnALeaseThatMayHaveRunOut(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second)
		b.with(func() { b.stall, b.paused = time.Hour, true }) // renewals hang, and there is no new lease
		b.latency = func(outbox.Message) time.Duration { return time.Second }
		began := time.Now()
		for range 10 {
			b.put("u")
			relay.Poke()
			b.pass(time.Second)
		}
		for _, m := range b.taken {
			require.Less(b, m.at.Sub(began), 5*time.Second*3/4)
		}
		require.False(b, relay.Status().Leader)
		b.with(func() { b.stall, b.paused = 0, false })
		b.pass(30 * time.Second)
		require.Equal(b, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, b.of("u"), "nothing is lost, nothing repeated by a process that lives")
	})
}

func TestGracefulStopFinishesWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return 2 * time.Second }
		_, stop := b.start(outbox.Config{})
		b.put("u")
		b.pass(time.Second)
		require.Empty(b, b.all())
		stop()
		require.Equal(b, []int64{1}, b.of("u"))
		b.start(outbox.Config{})
		b.pass(time.Minute)
		require.Equal(b, []int64{1}, b.of("u"), "the cursor was stored")
	})
}

func TestStopAtAnyMomentRepeatsNothing(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Millisecond }
		const rounds = 100
		for i := range rounds {
			b.backlog(21)
			_, stop := b.start(b.settings())
			b.pass(time.Duration(i) * 300 * time.Microsecond)
			stop()
			require.True(b, b.expires.IsZero(), "the lease is given back")
		}
		b.start(b.settings())
		b.pass(time.Minute)
		require.Len(b, b.all(), rounds*21)
		for i := range 7 {
			require.IsIncreasing(b, b.of(fmt.Sprint("u", i)))
		}
	})
}

func TestGracefulStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Hour }
		_, stop := b.start(outbox.Config{})
		b.put("u")
		b.pass(time.Second)
		before := time.Now()
		stop()
		require.Equal(b, 5*time.Second, time.Since(before))
		require.True(b, b.expires.IsZero(), "the lease is given back")
	})
}

func TestLostConnectionRepeatsNothing(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{SaveEvery: time.Hour, RenewEvery: 2 * time.Second})
		for range 20 {
			b.put("u", "v")
			relay.Poke()
			b.pass(10 * time.Millisecond)
		}
		b.cut()
		b.with(func() { b.blind = true }) // the next term ends before it has read anything
		b.pass(time.Second)
		b.with(func() { b.blind = false })
		b.pass(10 * time.Second)
		require.Greater(b, relay.Status().Epoch, int64(2))
		b.put("u")
		b.pass(time.Second)
		require.Len(b, b.of("u"), 21)
		require.Len(b, b.of("v"), 20)
		require.IsIncreasing(b, b.of("u"))
	})
}

// TestWhatIsReplayedAfterALostAnswerIsSent: the relay does not know that the
// cursor is behind the rows, and would remember them as sent.
func TestWhatIsReplayedAfterALostAnswerIsSent(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second)
		b.with(func() { b.mute = true })
		b.put("u", "v")
		relay.Poke()
		b.pass(10 * time.Second)
		require.False(b, b.mute, "a save was made and not answered")
		require.Len(b, b.of("u"), 1)
		b.replay()
		relay.Poke()
		b.pass(time.Second)
		require.Len(b, b.of("u"), 2)
		require.Len(b, b.of("v"), 2)
	})
}

func TestDatabaseAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second)
		b.with(func() { b.away = true })
		b.pass(time.Hour)
		require.False(b, relay.Status().Leader)
		require.Equal(b, errAway.Error(), relay.Status().LastError)
		b.with(func() { b.away = false })
		b.put("u")
		b.pass(10 * time.Second)
		require.Equal(b, []int64{1}, b.of("u"))
	})
}

func TestForeignCursorStopsTheRelayAndNothingElse(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.foreign = true
		relay, _ := b.start(outbox.Config{})
		b.put("u")
		b.pass(time.Minute)
		require.Empty(b, b.all())
		require.True(b, relay.Status().NeedsReanchor)
		require.Equal(b, outbox.ErrReanchor.Error(), relay.Status().LastError)
		b.with(func() { b.foreign = false })
		b.pass(5 * time.Second)
		require.Equal(b, []int64{1}, b.of("u"))
		require.False(b, relay.Status().NeedsReanchor)
	})
}

func TestPublishedRowsGoAfterTheirRetention(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{Retention: time.Minute})
		b.put("u", "v")
		b.pass(59 * time.Second)
		require.Len(b, b.rows, 2)
		b.pass(12 * time.Second)
		require.Empty(b, b.rows)
	})
}
