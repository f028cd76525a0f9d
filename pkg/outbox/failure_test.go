package outbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

var errBroker = errors.New("no")

func unreachable(outbox.Message) error { return fmt.Errorf("%w: %w", outbox.ErrUnreachable, errBroker) }

// refuses answers the messages of a subject with a refusal.
func refuses(subject string, permanent bool) func(outbox.Message) error {
	return func(m outbox.Message) error {
		if string(m.Key) == subject {
			return &outbox.Refused{Permanent: permanent, Err: errBroker}
		}
		return nil
	}
}

// bySubject gives each subject a partition of its own.
func bySubject(m outbox.Message) string { return m.Topic + "/" + string(m.Key) }

func TestBrokerAwaySpendsNoAttemptAndKeepsTheLease(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{YieldAfter: time.Hour})
		b.pass(time.Second)
		b.answers(unreachable)
		for i := range 100 {
			b.put(fmt.Sprint("u", i%10))
			relay.Poke()
			b.pass(100 * time.Millisecond)
		}
		b.pass(10 * time.Minute)
		s := relay.Status()
		require.True(b, s.Leader)
		require.True(b, s.BrokerAway)
		require.Contains(b, s.LastError, outbox.ErrUnreachable.Error())
		require.InDelta(b, 610, s.OldestAge.Seconds(), 1)
		require.Empty(b, b.refusals)
		require.Less(b, b.calls, 250, "it backs off")
		b.answers(nil)
		b.pass(10 * time.Second)
		require.Len(b, b.all(), 100)
		require.False(b, relay.Status().BrokerAway)
		require.Zero(b, relay.Status().OldestAge)
		for i := range 10 {
			require.IsIncreasing(b, b.of(fmt.Sprint("u", i)))
		}
	})
}

func TestAllLanesResumeWithTheFirstAnswer(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		b.start(outbox.Config{YieldAfter: time.Hour})
		b.answers(unreachable)
		for i := range 50 {
			b.put(fmt.Sprint("u", i))
		}
		b.pass(time.Minute) // every lane waits for seconds by now
		b.answers(nil)
		b.pass(time.Second)
		require.Len(b, b.all(), 50)
	})
}

func TestSilentBrokerIsLeftToAnotherRelay(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.answers(unreachable)
		b.put("u")
		b.pass(29 * time.Second)
		require.True(b, relay.Status().Leader)
		b.pass(2 * time.Second)
		require.False(b, relay.Status().Leader)
		require.True(b, b.expires.IsZero())
		b.pass(10 * time.Second)
		require.True(b, relay.Status().Leader, "nobody else took it")
	})
}

func TestRefusingPartitionHoldsUpItselfAlone(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		relay, _ := b.start(outbox.Config{})
		b.answers(refuses("bad", false))
		for range 50 {
			b.put("bad", "good")
			relay.Poke()
			b.pass(100 * time.Millisecond)
			require.NotEmpty(b, b.of("good"))
		}
		require.Len(b, b.of("good"), 50)
		require.Empty(b, b.of("bad"))
		require.NotEmpty(b, b.refusals)
		require.Equal(b, int64(1), slices.MaxFunc(b.refusals, func(x, y outbox.Place) int { return int(x.ID - y.ID) }).ID,
			"the first of the lane is what was refused")
		b.answers(nil)
		b.pass(20 * time.Second)
		require.Len(b, b.of("bad"), 50)
		require.IsIncreasing(b, b.of("bad"))
		require.Len(b, b.all(), 100, "nothing twice")
	})
}

func TestSlowPartitionHoldsUpItselfAlone(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second)
		b.latency = func(m outbox.Message) time.Duration {
			if string(m.Key) == "slow" {
				return 10 * time.Second
			}
			return 0
		}
		for range 10 {
			b.put("slow", "quick")
			relay.Poke()
			b.pass(150 * time.Millisecond)
		}
		require.Len(b, b.of("quick"), 10)
		require.Empty(b, b.of("slow"))
		b.pass(2 * time.Minute)
		require.Len(b, b.of("slow"), 10)
		require.IsIncreasing(b, b.of("slow"))
	})
}

// TestAPartitionGetsOneDeliveryAtATime: the second of two might arrive before
// the first, and be taken although the first was not.
func TestAPartitionGetsOneDeliveryAtATime(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.pass(time.Second)
		b.latency = func(m outbox.Message) time.Duration { return time.Second / time.Duration(m.ID) }
		for range 5 {
			b.put("u")
			relay.Poke()
			b.pass(200 * time.Millisecond)
		}
		b.pass(time.Minute)
		require.Equal(b, []int64{1, 2, 3, 4, 5}, b.of("u"))
	})
}

// TestWhatIsOnItsWayIsNotBehindThePosition: the position is saved while rows are
// on their way, and then the relay loses its lease and they never arrive.
func TestWhatIsOnItsWayIsNotBehindThePosition(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.latency = func(outbox.Message) time.Duration { return time.Hour }
		b.start(outbox.Config{})
		b.put("u", "v")
		b.pass(time.Second)
		require.Greater(b, b.saves, 1)
		require.Empty(b, b.all())
		b.latency = nil
		b.with(func() { b.epoch, b.expires = b.epoch+1, time.Time{} })
		b.pass(time.Minute)
		require.ElementsMatch(b, []string{"u:1", "v:2"}, b.all())
	})
}

func TestOthersRunAheadOnlySoFar(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		relay, _ := b.start(outbox.Config{Ahead: 20})
		b.answers(refuses("bad", false))
		b.put("bad")
		for range 40 {
			b.put("good")
			relay.Poke()
			b.pass(10 * time.Millisecond)
		}
		b.pass(time.Minute)
		require.Len(b, b.of("good"), 19)
		b.answers(nil)
		b.pass(20 * time.Second)
		require.Len(b, b.of("good"), 40)
		require.Len(b, b.of("bad"), 1)
	})
}

func TestOrderOfASubjectSurvivesAMoveToAnotherPartition(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = func(m outbox.Message) string {
			if m.ID > 1 {
				return "events/new"
			}
			return "events/old"
		}
		relay, _ := b.start(outbox.Config{})
		b.answers(func(m outbox.Message) error {
			if m.ID == 1 {
				return unreachable(m)
			}
			return nil
		})
		b.put("u")
		b.pass(time.Second)
		b.put("u")
		relay.Poke()
		b.pass(time.Second)
		require.Empty(b, b.of("u"))
		b.answers(nil)
		b.pass(20 * time.Second)
		require.Equal(b, []int64{1, 2}, b.of("u"))
	})
}

func TestRefusedForGoodGoesIntoQuarantineWithWhatFollows(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.answers(func(m outbox.Message) error {
			if m.ID == 2 {
				return &outbox.Refused{Permanent: true, Err: errBroker}
			}
			return nil
		})
		one := b.begin()
		for _, subject := range []string{"u", "u", "v", "u", "v"} {
			one.put(subject)
		}
		one.commit()
		b.pass(time.Second)
		b.put("u", "v") // later ones follow
		b.pass(time.Second)
		require.Equal(b, []int64{1}, b.of("u"))
		require.Equal(b, []int64{3, 5, 7}, b.of("v"))
		require.Len(b, b.quarantine, 3)
		culprit := b.quarantine[0]
		require.Equal(b, outbox.ReasonRefused, culprit.Reason)
		require.Equal(b, int64(2), culprit.ID)
		require.EqualValues(b, 1, culprit.Attempts)
		require.True(b, strings.HasSuffix(culprit.Error, errBroker.Error()))
		for i, id := range []int64{4, 6} {
			q := b.quarantine[i+1]
			require.Equal(b, outbox.Exile{
				Place: outbox.Place{XID: q.XID, ID: id}, Reason: outbox.ReasonBlocked, Error: q.Error, BlockedBy: culprit.row.EventID,
			}, q.Exile)
		}
		require.Equal(b, int64(3), relay.Status().Quarantined)
		require.Zero(b, relay.Status().OldestAge, "the cursor moves on")
	})
}

func TestWaitingRowsFollowIntoQuarantine(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.answers(refuses("u", false))
		for range 3 {
			b.put("u", "v")
			relay.Poke()
			b.pass(100 * time.Millisecond)
		}
		b.answers(refuses("u", true))
		b.pass(20 * time.Second)
		require.Len(b, b.quarantine, 3)
		require.Empty(b, b.of("u"))
		require.Len(b, b.of("v"), 3)
		require.IsIncreasing(b, b.of("v"))
	})
}

func TestRowThatCannotBeReadGoesIntoQuarantine(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{})
		broken := func(row *outbox.Row) { row.Defect = errors.New("headers are no list") }
		b.begin().put("u").put("u", broken).put("u").put("v").commit()
		b.pass(time.Second)
		require.Equal(b, []string{"u:1", "v:4"}, b.all())
		require.Len(b, b.quarantine, 2)
		require.Equal(b, outbox.ReasonMalformed, b.quarantine[0].Reason)
		require.Equal(b, outbox.ReasonBlocked, b.quarantine[1].Reason)
	})
}

func TestRowsWithoutASubjectBlockNobody(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.start(outbox.Config{})
		b.answers(func(m outbox.Message) error {
			if m.ID == 1 {
				return &outbox.Refused{Permanent: true, Err: errBroker}
			}
			return nil
		})
		free := func(row *outbox.Row) { row.Subject, row.Key = "", nil }
		b.begin().put("", free).put("", free).commit()
		b.pass(time.Second)
		require.Equal(b, []string{":2"}, b.all())
		require.Len(b, b.quarantine, 1)
	})
}

func TestRowsDeletedByHandAreForgotten(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		relay, _ := b.start(outbox.Config{})
		b.answers(unreachable)
		b.put("u", "u", "v")
		b.pass(time.Second)
		b.with(func() { b.rows = slices.Delete(b.rows, 0, 2) })
		b.answers(nil)
		b.pass(20 * time.Second)
		require.Equal(b, []string{"v:3"}, b.all())
		require.Zero(b, relay.Status().OldestAge)
	})
}
