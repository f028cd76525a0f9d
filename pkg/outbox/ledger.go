package outbox

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ledger knows which of the rows that were read are settled: acknowledged by
// the broker, or moved to the quarantine. Reads are settled in any order, but
// the cursor moves past one only when all before it are settled too.
type ledger struct {
	cursor  Cursor // everything up to here is settled
	stored  Cursor // the one that the database has
	moved   bool   // rows were settled since the last save
	rows    int    // in reads
	reads   []*read
	unsaved []sent // published behind the saved cursor and before this one
}

// sent is a row that the broker has.
type sent struct {
	Place
	event uuid.UUID
}

// read is what one look at the outbox returned.
type read struct {
	end       Cursor // where the cursor stands once its rows are settled
	rows      int
	open      int       // rows that are not settled
	oldest    time.Time // when its oldest row was written
	published []sent    // its rows that the broker has
}

// add enters the rows of a read, which ends at the cursor.
func (l *ledger) add(end Cursor, rows []Row) *read {
	r := &read{end: end, rows: len(rows), open: len(rows)}
	for i := range rows {
		r.end.MaxID = max(r.end.MaxID, rows[i].ID)
		if r.oldest.IsZero() || rows[i].Written.Before(r.oldest) {
			r.oldest = rows[i].Written
		}
	}
	if n := len(l.reads); n > 0 && len(rows) == 0 {
		r.end.MaxID = max(r.end.MaxID, l.reads[n-1].end.MaxID)
		l.reads[n-1].end = r.end // nothing lies between the two
		return r
	}
	l.reads = append(l.reads, r)
	l.rows += r.rows
	l.advance()
	return r
}

// published settles one row of a read that the broker has.
func (l *ledger) published(r *read, row sent) {
	r.published = append(r.published, row)
	l.settled(r)
}

// settled settles one row of a read.
func (l *ledger) settled(r *read) {
	r.open--
	l.moved = true
	l.advance()
}

func (l *ledger) advance() {
	for len(l.reads) > 0 && l.reads[0].open == 0 {
		first := l.reads[0]
		highest := max(l.cursor.MaxID, first.end.MaxID)
		l.cursor = first.end
		l.cursor.MaxID = highest
		l.rows -= first.rows
		l.unsaved = append(l.unsaved, first.published...)
		l.reads[0] = nil
		l.reads = l.reads[1:]
	}
}

// saved notes that the database has the cursor.
func (l *ledger) saved() {
	l.stored, l.moved = l.cursor, false
	l.unsaved = l.unsaved[:0]
}

// oldest returns when the oldest row that may be unsettled was written, or the
// zero time.
func (l *ledger) oldest() time.Time {
	var oldest time.Time
	for _, r := range l.reads {
		if oldest.IsZero() || r.oldest.Before(oldest) {
			oldest = r.oldest
		}
	}
	return oldest
}

// surplus returns the rows that were published behind the saved cursor: the next
// term would publish them again.
func (l *ledger) surplus() []sent {
	all := slices.Clone(l.unsaved)
	for _, r := range l.reads {
		all = append(all, r.published...)
	}
	return all
}
