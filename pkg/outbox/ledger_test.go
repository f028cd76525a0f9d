package outbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func rowsOf(ids ...int64) []Row {
	rows := make([]Row, len(ids))
	for i, id := range ids {
		rows[i] = Row{Place: Place{ID: id}, Written: time.Unix(id, 0)}
	}
	return rows
}

func TestCursorWaitsForTheOldestRead(t *testing.T) {
	t.Parallel()
	var l ledger
	first := l.add(Cursor{Snapshot: "1"}, rowsOf(1, 9))
	second := l.add(Cursor{Snapshot: "2"}, rowsOf(4))
	l.settled(second)
	l.settled(first)
	require.Empty(t, l.cursor)
	require.Equal(t, time.Unix(1, 0), l.oldest())
	l.settled(first)
	require.Equal(t, Cursor{Snapshot: "2", MaxID: 9}, l.cursor)
	require.Zero(t, l.oldest())
	require.Zero(t, l.rows)
}

func TestEmptyReadMovesTheCursorAndCostsNothing(t *testing.T) {
	t.Parallel()
	var l ledger
	l.add(Cursor{Snapshot: "1"}, nil)
	require.Equal(t, Cursor{Snapshot: "1"}, l.cursor)
	require.False(t, l.moved, "nothing that a crash would repeat")
	open := l.add(Cursor{Snapshot: "2"}, rowsOf(1))
	for range 1000 {
		l.add(Cursor{Snapshot: "3"}, nil)
	}
	require.Len(t, l.reads, 1)
	l.settled(open)
	require.Equal(t, Cursor{Snapshot: "3", MaxID: 1}, l.cursor)
}

// TestSurplusIsWhatTheSavedCursorDoesNotCover plays random reads, settlements
// and saves: what a restart from the saved cursor would read again and was
// published is exactly the surplus.
func TestSurplusIsWhatTheSavedCursorDoesNotCover(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			read *read
			n    int // of the read
			at   Place
		}
		var l ledger
		var open []entry
		published := map[Place]int{}
		reads, saved := 0, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				reads++
				ids := make([]int64, rapid.IntRange(0, 3).Draw(t, "rows"))
				rd := l.add(Cursor{WindowID: int64(reads)}, rowsOf(ids...))
				for range ids {
					open = append(open, entry{rd, reads, Place{XID: uint64(len(published) + len(open) + 1)}})
				}
			case 1, 2:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "row")
					e := open[i]
					open = append(open[:i], open[i+1:]...)
					l.published(e.read, sent{Place: e.at})
					published[e.at] = e.n
				}
			case 3:
				saved = int(l.cursor.WindowID)
				l.saved()
			}
			for _, e := range open {
				require.Less(t, l.cursor.WindowID, int64(e.n), "the cursor is past a row that is not settled")
			}
		}
		want := map[Place]bool{}
		for at, n := range published {
			if n > saved {
				want[at] = true
			}
		}
		got := map[Place]bool{}
		for _, row := range l.surplus() {
			got[row.Place] = true
		}
		require.Equal(t, want, got)
	})
}
