package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
)

// backlog writes n rows in transactions whose commits are not in the order of
// their ids.
func (b *bench) backlog(n int) {
	var open []*tx
	for i := range n {
		open = append(open, b.begin().put(fmt.Sprint("u", i%7)))
	}
	for i := range open { // those of one subject stay in order
		open[(i%7)*(n/7)+i/7].commit()
	}
}

func (b *bench) settings() outbox.Config {
	return outbox.Config{Batch: 10}.WithManifest(25)
}

func TestBacklogIsPublishedInTheOrderOfIDs(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.backlog(140)
		relay, _ := b.start(b.settings())
		b.put("late")
		b.pass(time.Second)
		require.Len(b, b.all(), 141)
		for i, m := range b.taken {
			require.Equal(b, int64(i+1), m.ID)
		}
		require.Equal(b, 6, b.windowCalls)
		require.Equal(b, outbox.Cursor{Snapshot: "141", MaxID: 141}, b.cursor)
		require.Zero(b, relay.Status().OldestAge)
	})
}

func TestBacklogIsResumedWhereItWasLeft(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.backlog(140)
		b.latency = func(outbox.Message) time.Duration { return 7 * time.Millisecond } // a page takes less than counts as slow
		_, stop := b.start(b.settings())
		b.pass(500 * time.Millisecond)
		stop()
		done := len(b.all())
		require.Greater(b, done, 50)
		require.Less(b, done, 120)
		require.Equal(b, outbox.Snapshot("140"), b.cursor.Window)
		require.Equal(b, b.taken[done-1].ID, b.cursor.WindowID)
		b.put("late")
		b.start(b.settings())
		b.pass(10 * time.Second)
		require.Len(b, b.all(), 141, "nothing twice")
		for i, m := range b.taken {
			require.Equal(b, int64(i+1), m.ID)
		}
		require.Empty(b, b.cursor.Window)
	})
}

func TestBacklogWaitsForAPartitionAndGoesOn(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		b.backlog(140)
		b.answers(refuses("u3", false))
		cfg := b.settings()
		cfg.Ahead = 50
		b.start(cfg)
		b.pass(time.Minute)
		require.Zero(b, b.cursor.WindowID, "the cursor stays before the first page that is not published")
		require.Empty(b, b.of("u3"))
		require.Len(b, b.all(), 43, "of 50 rows that may run ahead, 7 are not to be had")
		b.answers(nil)
		b.pass(time.Minute)
		require.Len(b, b.all(), 140)
		for i := range 7 {
			require.IsIncreasing(b, b.of(fmt.Sprint("u", i)))
		}
		require.Equal(b, outbox.Cursor{Snapshot: "140", MaxID: 140}, b.cursor)
	})
}

func TestLargeValuesAreReadInSmallPages(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.answers(unreachable)
		cfg := outbox.Config{BatchBytes: 100, YieldAfter: time.Hour}
		b.start(cfg)
		large := func(row *outbox.Row) { row.Value = make([]byte, 60) }
		for range 10 {
			b.begin().put("u", large).commit()
		}
		b.pass(time.Minute)
		b.answers(nil)
		b.pass(30 * time.Second)
		require.Equal(b, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, b.of("u"))
	})
}

func TestPageThatWasReadAheadFollowsIntoQuarantine(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		b.backlog(140)
		b.latency = func(outbox.Message) time.Duration { return 7 * time.Millisecond }
		b.answers(func(m outbox.Message) error {
			if m.ID == 1 {
				return &outbox.Refused{Permanent: true, Err: errBroker}
			}
			return nil
		})
		b.start(b.settings())
		b.pass(time.Minute)
		require.Empty(b, b.of("u0"), "nothing of it may go before the first")
		require.Len(b, b.quarantine, 20)
		require.Len(b, b.all(), 120)
	})
}

func TestRowsAreReadOnceHoweverLongTheDatabaseTakes(t *testing.T) {
	t.Parallel()
	story(t, func(b *bench) {
		b.route = bySubject
		b.backlog(140)
		b.stall = 300 * time.Millisecond
		b.latency = func(outbox.Message) time.Duration { return 7 * time.Millisecond }
		b.start(b.settings())
		b.pass(time.Minute)
		require.Len(b, b.all(), 140)
		require.Equal(b, 140, b.rowsRead, "no partition is slow, only the saves are")
	})
}
