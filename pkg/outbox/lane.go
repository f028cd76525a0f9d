package outbox

import (
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/retry"
)

const (
	shortestBackoff = 100 * time.Millisecond
	longestBackoff  = 10 * time.Second
)

// item is a row on its way, without its bytes: one that has to wait is read
// again when its turn comes.
type item struct {
	Place
	subject string // topic and subject, or empty: no order to keep
	event   uuid.UUID
	written time.Time
	read    *read
}

// lane carries the rows of one partition. One delivery is under way at a time,
// what comes meanwhile waits behind it.
type lane struct {
	name     string
	underway bool
	waiting  []item
	failures int       // in a row
	due      time.Time // not before
}

// free says whether rows that were just read may go at once.
func (ln *lane) free(now time.Time) bool {
	idle := !ln.underway || mutant.Is("two-in-flight")
	return idle && len(ln.waiting) == 0 && !now.Before(ln.due)
}

// resumes says whether waiting rows wait only for their time.
func (ln *lane) resumes() bool { return !ln.underway && len(ln.waiting) > 0 }

// fail puts the lane off, longer each time.
func (ln *lane) fail(now time.Time) {
	ln.failures++
	ln.due = now.Add(backoff(ln.failures))
}

// backoff is how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	return retry.Delay(failures, shortestBackoff, longestBackoff)
}

// lanes are those with rows that are not settled.
type lanes struct {
	byName    map[string]*lane
	bySubject map[string]*queued
}

// queued counts the unsettled rows of one subject. As long as there are any,
// later ones follow them into the same lane, even if their partition is another
// one by then: partitions keep failures apart, subjects keep order.
type queued struct {
	lane *lane
	rows int
}

func newLanes() lanes {
	return lanes{byName: map[string]*lane{}, bySubject: map[string]*queued{}}
}

// enter finds the lane of a row.
func (ls *lanes) enter(it *item, name string) *lane {
	if it.subject != "" {
		if q := ls.bySubject[it.subject]; q != nil {
			q.rows++
			return q.lane
		}
	}
	ln := ls.byName[name]
	if ln == nil {
		ln = &lane{name: name}
		ls.byName[name] = ln
	}
	if it.subject != "" {
		ls.bySubject[it.subject] = &queued{lane: ln, rows: 1}
	}
	return ln
}

// leave takes a settled row off the books.
func (ls *lanes) leave(it *item) {
	q := ls.bySubject[it.subject]
	if q == nil {
		return
	}
	if q.rows--; q.rows == 0 {
		delete(ls.bySubject, it.subject)
	}
}

// tidy forgets a lane that has nothing left to do.
func (ls *lanes) tidy(ln *lane) {
	if !ln.underway && len(ln.waiting) == 0 {
		delete(ls.byName, ln.name)
	}
}

// next returns the lane that waits for its time and comes first.
func (ls *lanes) next() *lane {
	var first *lane
	for _, ln := range ls.byName {
		if ln.resumes() && (first == nil || ln.due.Before(first.due)) {
			first = ln
		}
	}
	return first
}

// hurry makes every lane due: what they all waited for is back.
func (ls *lanes) hurry(now time.Time) {
	for _, ln := range ls.byName {
		if ln.due.After(now) {
			ln.due = now
		}
	}
}
