package operations_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/operations"
	"github.com/prefsd/prefsd/pkg/preferences"
)

type sweep func(ctx context.Context, h preferences.Held, progressed func()) error

func (s sweep) Run(ctx context.Context, h preferences.Held, progressed func()) error {
	return s(ctx, h, progressed)
}

type stage struct {
	*operations.Runner
	stop func() // and wait
	log  *bytes.Buffer

	mu       sync.Mutex
	outcomes []operations.Outcome
}

func start(t *testing.T, q *queue, s sweep) *stage {
	t.Helper()
	st := &stage{log: &bytes.Buffer{}}
	st.Runner = operations.NewRunner(operations.Options{
		Store: q,
		Works: map[preferences.OperationKind]operations.Work{ //nolint:exhaustive // others are left to other processes
			preferences.KindClean: sweeper{s, q}, preferences.KindBulkClean: sweeper{s, q},
		},
		Owner: "me", Log: slog.New(slog.NewTextHandler(st.log, nil)),
		Observe: func(kind preferences.OperationKind, o operations.Outcome) {
			if kind != preferences.KindClean {
				panic(kind)
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			st.outcomes = append(st.outcomes, o)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	st.stop = func() {
		cancel()
		require.NoError(t, <-ended)
	}
	return st
}

func (s *stage) said() []operations.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]operations.Outcome(nil), s.outcomes...)
}

func TestRunner_FinishesWhatIsOpenAtItsStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(10)
		var mu sync.Mutex
		running, most := 0, 0
		st := start(t, q, func(_ context.Context, c preferences.Held, _ func()) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(100 * time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			q.finish(c)
			return nil
		})
		<-time.After(300*time.Millisecond + time.Microsecond)
		synctest.Wait()
		require.Zero(t, q.left(), "a slot that is free is taken at once: three rounds of four")
		require.Equal(t, 4, most)
		require.Len(t, st.said(), 10)
		require.NotContains(t, st.said(), operations.Retried)
		st.stop()
	})
}

func TestRunner_LooksAtOnceWhenPokedAndEverySecondWithout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		st := start(t, q, func(_ context.Context, c preferences.Held, _ func()) error {
			q.finish(c)
			return nil
		})
		synctest.Wait()

		q.open(1)
		for range 3 {
			st.Poke()
		}
		synctest.Wait()
		require.Zero(t, q.left())

		q.open(1)
		<-time.After(999 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, q.left())
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, q.left())
		st.stop()
	})
}

func TestRunner_TriesAgainLaterAndLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		failures := 12
		st := start(t, q, func(_ context.Context, c preferences.Held, _ func()) error {
			if failures--; failures >= 0 {
				return fault.New(fault.Unavailable, fault.ReasonUnavailable, "away")
			}
			q.finish(c)
			return nil
		})
		<-time.After(20 * time.Minute)
		synctest.Wait()
		require.Zero(t, q.left())
		require.Len(t, q.delays, 12)
		for i, d := range q.delays {
			full := min(time.Second<<i, time.Minute)
			require.GreaterOrEqual(t, d, full/2)
			require.Less(t, d, full)
		}
		st.stop()
		require.Equal(t, 12, strings.Count(st.log.String(), "operation failed and is tried again"))
	})
}

func TestRunner_BeginsToCountAgainAfterProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		q.rows[0].held.Attempts = 24
		st := start(t, q, func(_ context.Context, _ preferences.Held, progressed func()) error {
			progressed()
			return errors.New("then it broke")
		})
		synctest.Wait()
		require.Equal(t, 1, q.returned[0].Attempts, "the store must not count it as failed for good")
		require.Less(t, q.delays[0], time.Second)
		st.stop()
	})
}

func TestRunner_GivesUpAfterTooManyFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		st := start(t, q, func(context.Context, preferences.Held, func()) error {
			return errors.New("broken")
		})
		<-time.After(time.Hour)
		synctest.Wait()
		require.Zero(t, q.left())
		require.Len(t, q.returned, preferences.MaxAttempts-1)
		require.Len(t, q.givenUp, 1)
		require.Equal(t, preferences.MaxAttempts, q.givenUp[0].Attempts)
		require.Equal(t, operations.Failed, st.said()[preferences.MaxAttempts-1])
		st.stop()
		require.Equal(t, 1, strings.Count(st.log.String(), "operation failed for good"))
	})
}

func TestRunner_GivesUpAgainWhatItCouldNotGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{refusal: errors.New("the database is away")}
		q.open(2)
		q.rows[0].held.Attempts = preferences.MaxAttempts - 1
		q.rows[1].next = time.Now().Add(time.Hour)
		st := start(t, q, func(context.Context, preferences.Held, func()) error {
			return errors.New("broken")
		})
		synctest.Wait()
		require.Equal(t, []operations.Outcome{operations.Retried}, st.said())

		q.mu.Lock()
		q.refusal = fault.New(fault.Aborted, "OPERATION_TAKEN_OVER", "taken over")
		q.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		require.Equal(t, operations.TakenOver, st.said()[1])

		q.mu.Lock()
		q.refusal, q.rows[0].lease = nil, time.Time{}
		q.mu.Unlock()
		<-time.After(time.Second)
		synctest.Wait()
		said := st.said()
		require.Equal(t, operations.Failed, said[len(said)-1])
		require.Equal(t, 1, q.left())
		st.stop()
	})
}

func TestRunner_SaysNothingWhenAnotherOneTookOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		st := start(t, q, func(context.Context, preferences.Held, func()) error {
			return fault.New(fault.Aborted, "OPERATION_TAKEN_OVER", "taken over")
		})
		synctest.Wait()
		require.Equal(t, []operations.Outcome{operations.TakenOver}, st.said())
		require.Empty(t, q.returned, "it is not ours to give back")
		st.stop()
		require.Empty(t, st.log.String())
	})
}

func TestRunner_GivesBackWhatItHoldsWhenItStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(3)
		st := start(t, q, func(ctx context.Context, _ preferences.Held, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		})
		synctest.Wait()
		st.stop()
		require.Len(t, q.returned, 3)
		for i, c := range q.returned {
			require.Zero(t, q.delays[i], "the next process goes on at once")
			require.Zero(t, c.Attempts, "and nothing has failed")
		}
		require.Equal(t, []operations.Outcome{operations.Released, operations.Released, operations.Released}, st.said())
		require.Equal(t, 3, q.left())
		require.Empty(t, st.log.String())
	})
}

func TestRunner_ForgetsFailuresAfterProgressAlsoWhenItStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		q.rows[0].held.Attempts = 10
		st := start(t, q, func(ctx context.Context, _ preferences.Held, progressed func()) error {
			progressed()
			<-ctx.Done()
			return ctx.Err()
		})
		synctest.Wait()
		st.stop()
		require.Zero(t, q.returned[0].Attempts)
	})
}

func TestRunner_GivesNothingUpThatMayHaveMadeProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		q.rows[0].held.Attempts = preferences.MaxAttempts - 1
		st := start(t, q, func(context.Context, preferences.Held, func()) error {
			return fault.New(fault.Unavailable, fault.ReasonOutcomeUnknown, "the answer was lost")
		})
		synctest.Wait()
		require.Empty(t, q.givenUp)
		require.Len(t, q.returned, 1)
		st.stop()
	})
}

func TestRunner_WaitsForTheStoreAndLogsAnOutageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: errors.New("connection refused")}
		q.open(1)
		st := start(t, q, func(_ context.Context, c preferences.Held, _ func()) error {
			q.finish(c)
			return nil
		})
		<-time.After(time.Minute)
		q.mu.Lock()
		q.away = nil
		q.mu.Unlock()
		<-time.After(1001 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, q.left())
		st.stop()
		require.Equal(t, 1, strings.Count(st.log.String(), "operations cannot be claimed"))
		require.Equal(t, 1, strings.Count(st.log.String(), "operations can be claimed again"))
	})
}

func TestRunner_StopsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: errors.New("connection refused")}
		st := start(t, q, nil)
		synctest.Wait()
		st.stop()
	})
}

func TestRunner_KeepsTheLeaseOfWorkThatIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		st := start(t, q, func(_ context.Context, h preferences.Held, _ func()) error {
			<-time.After(10 * time.Minute)
			q.finish(h)
			return nil
		})
		<-time.After(10*time.Minute + time.Second)
		synctest.Wait()
		require.Zero(t, q.left())
		require.Equal(t, []operations.Outcome{operations.Succeeded}, st.said(), "nobody claims it a second time")
		require.InDelta(t, 120, q.renewed, 1, "each third of 15 seconds")
		st.stop()
	})
}

func TestRunner_StopsWorkWhoseLeaseIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{thief: true}
		q.open(1)
		st := start(t, q, func(ctx context.Context, _ preferences.Held, _ func()) error {
			<-ctx.Done()
			return ctx.Err()
		})
		<-time.After(6 * time.Second)
		synctest.Wait()
		require.Equal(t, []operations.Outcome{operations.TakenOver}, st.said())
		require.Empty(t, q.returned)
		st.stop()
	})
}

func TestRunner_GoesOnWithoutThePartThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{parts: 1}
		q.open(1)
		q.rows[0].held.Attempts = preferences.MaxAttempts - 1
		st := start(t, q, func(_ context.Context, h preferences.Held, _ func()) error {
			if h.Attempts > 1 {
				return errors.New("broken")
			}
			q.finish(h)
			return nil
		})
		<-time.After(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []operations.Outcome{operations.Retried, operations.Succeeded}, st.said())
		require.Zero(t, q.delays[0], "what is left waits for nothing")
		st.stop()
	})
}

func TestRunner_LeavesOtherKindsToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		q.open(1)
		q.rows[0].held.Kind = "a kind of a newer release"
		st := start(t, q, nil)
		<-time.After(time.Minute)
		synctest.Wait()
		require.Empty(t, st.said())
		st.stop()
	})
}
