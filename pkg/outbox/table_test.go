package outbox_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/outbox"
)

var errAway = errors.New("the database is away")

// table is an outbox in memory. Its snapshots are numbers: how many commits one
// has seen.
type table struct {
	mu          sync.Mutex
	commits     int
	ids         int64
	rows        []stored
	quarantine  []exiled
	refusals    []outbox.Place
	cursor      outbox.Cursor
	owner       string
	epoch       int64
	expires     time.Time
	paused      bool
	foreign     bool
	away        bool          // everything fails
	blind       bool          // rounds fail
	connection  int           // numbers them; terms of earlier ones fail
	stall       time.Duration // of every save
	mute        bool          // the next save is made, and its answer lost with the connection
	saves       int
	wake        func()
	pruneCalls  int
	windowCalls int
	rowsRead    int // by their places
	recalls     int
}

type stored struct {
	outbox.Row
	commit int
}

type exiled struct {
	outbox.Exile
	row     outbox.Row
	decided string // release or drop, or empty
}

// tx is what one transaction writes.
type tx struct {
	t    *table
	rows []outbox.Row
}

// begin takes ids in the order of calls; commit decides the order of snapshots.
func (t *table) begin() *tx { return &tx{t: t} }

func (x *tx) put(subject string, change ...func(*outbox.Row)) *tx {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	x.t.ids++
	row := outbox.Row{
		EventID: newEvent(), Type: "preferences.updated", SchemaVersion: 1, Topic: "events",
		Subject: subject, Key: []byte(subject), Value: []byte(strconv.FormatInt(x.t.ids, 10)), Written: time.Now(),
	}
	row.ID = x.t.ids
	for _, fn := range change {
		fn(&row)
	}
	x.rows = append(x.rows, row)
	return x
}

func (x *tx) commit() {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	x.t.commits++
	for _, row := range x.rows {
		row.XID = uint64(x.t.commits)
		x.t.rows = append(x.t.rows, stored{row, x.t.commits})
	}
}

func (t *table) put(subjects ...string) {
	for _, s := range subjects {
		t.begin().put(s).commit()
	}
}

// with changes the table under its lock.
func (t *table) with(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
}

// replay makes the rows look as if they had just been committed.
func (t *table) replay() {
	t.with(func() {
		t.commits++
		for i := range t.rows {
			t.rows[i].XID, t.rows[i].commit = uint64(t.commits), t.commits
		}
	})
}

// cut ends every connection.
func (t *table) cut() { t.with(func() { t.connection++ }) }

func seen(s outbox.Snapshot) int {
	n, _ := strconv.Atoi(string(s))
	return n
}

// between returns the rows between two snapshots, by id.
func (t *table) between(from, to int) []outbox.Row {
	var rows []outbox.Row
	for _, r := range t.rows {
		if r.commit > from && r.commit <= to {
			rows = append(rows, t.marked(r.Row))
		}
	}
	slices.SortFunc(rows, func(a, b outbox.Row) int { return int(a.ID - b.ID) })
	return rows
}

func (t *table) marked(row outbox.Row) outbox.Row {
	for _, q := range t.quarantine {
		if row.Subject != "" && q.row.Subject == row.Subject && q.row.ID < row.ID {
			row.BlockedBy = q.row.EventID
			break
		}
	}
	return row
}

func (t *table) Claim(_ context.Context, owner string, lease time.Duration) (outbox.Term, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.away:
		return nil, errAway
	case t.foreign:
		return nil, outbox.ErrReanchor
	case t.paused, t.owner != owner && time.Now().Before(t.expires):
		return nil, outbox.ErrHeld
	}
	t.owner, t.expires = owner, time.Now().Add(lease)
	t.epoch++
	return &fakeTerm{t: t, epoch: t.epoch, start: t.cursor, connection: t.connection}, nil
}

func (t *table) Recall(_ context.Context, m outbox.Memory) (outbox.Recalled, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return outbox.Recalled{}, errAway
	}
	t.recalls++
	now := outbox.Recalled{Epoch: t.epoch, MaxID: t.cursor.MaxID}
	for _, event := range m.Events {
		if !slices.ContainsFunc(t.rows, func(r stored) bool { return r.EventID == event }) {
			now.Gone++
		}
	}
	return now, nil
}

func (t *table) Window(_ context.Context, c outbox.Cursor, limit int) ([]outbox.Place, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.windowCalls++
	var places []outbox.Place
	for _, r := range t.between(seen(c.Snapshot), seen(c.Window)) {
		if r.ID > c.WindowID && len(places) < limit {
			places = append(places, r.Place)
		}
	}
	return places, nil
}

func (t *table) Listen(ctx context.Context, wake func()) error {
	t.with(func() { t.wake = wake })
	wake()
	<-ctx.Done()
	return ctx.Err()
}

func (t *table) Vitals(context.Context) (outbox.Vitals, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return outbox.Vitals{}, errAway
	}
	v := outbox.Vitals{Led: time.Now().Before(t.expires), Paused: t.paused, Quarantined: int64(len(t.quarantine))}
	if rows := t.between(seen(t.cursor.Snapshot), t.commits); len(rows) > 0 {
		v.Oldest = time.Since(rows[0].Written)
	}
	return v, nil
}

func (t *table) Prune(_ context.Context, retention time.Duration, limit int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pruneCalls++
	before := len(t.rows)
	t.rows = slices.DeleteFunc(t.rows, func(r stored) bool {
		return before-len(t.rows) < limit && r.commit <= seen(t.cursor.Snapshot) && time.Since(r.Written) > retention
	})
	return before - len(t.rows), nil
}

// fakeTerm is a term on a table.
type fakeTerm struct {
	t          *table
	epoch      int64
	start      outbox.Cursor
	connection int
}

// on runs fn if the connection and the epoch are still good.
func (f *fakeTerm) on(fn func()) error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.t.away || f.t.connection != f.connection {
		return errAway
	}
	fn()
	return nil
}

func (f *fakeTerm) fenced(fn func()) error {
	fence := error(nil)
	err := f.on(func() {
		if f.t.epoch != f.epoch {
			fence = outbox.ErrFenced
			return
		}
		fn()
	})
	return errors.Join(err, fence)
}

func (f *fakeTerm) Start() (outbox.Cursor, int64) { return f.start, f.epoch }

func (f *fakeTerm) Round(_ context.Context, after outbox.Cursor, limit outbox.Limit) (outbox.Round, error) {
	var r outbox.Round
	var blind error
	err := f.on(func() {
		if f.t.blind {
			blind = errAway
		}
		r.Snapshot = outbox.Snapshot(strconv.Itoa(f.t.commits))
		r.Rows = f.t.between(seen(after.Snapshot), f.t.commits)
		r.Partial = len(r.Rows) > limit.Rows
	})
	return r, errors.Join(err, blind)
}

func (f *fakeTerm) Rows(_ context.Context, places []outbox.Place, limit outbox.Limit) ([]outbox.Row, int, error) {
	var rows []outbox.Row
	covered := 0
	err := f.on(func() {
		size := 0
		for _, p := range places {
			if size > limit.Bytes {
				break
			}
			if i := slices.IndexFunc(f.t.rows, func(r stored) bool { return r.Place == p }); i >= 0 {
				size += len(f.t.rows[i].Value)
				rows = append(rows, f.t.marked(f.t.rows[i].Row))
			}
			covered++
		}
		f.t.rowsRead += covered
	})
	return rows, covered, err
}

func (f *fakeTerm) Save(ctx context.Context, c outbox.Cursor, lease time.Duration) (outbox.Wishes, error) {
	var wishes outbox.Wishes
	var stall time.Duration
	f.t.with(func() { stall = f.t.stall })
	if stall > 0 {
		select {
		case <-time.After(stall):
		case <-ctx.Done():
			return wishes, ctx.Err()
		}
	}
	lost := error(nil)
	err := f.fenced(func() {
		f.t.cursor, f.t.expires = c, time.Now().Add(lease)
		f.t.saves++
		if f.t.mute {
			f.t.mute, lost = false, errAway
			f.t.connection++
		}
		wishes.Pause = f.t.paused
		wishes.Decisions = slices.ContainsFunc(f.t.quarantine, func(q exiled) bool { return q.decided != "" })
	})
	return wishes, errors.Join(err, lost)
}

func (f *fakeTerm) Refused(_ context.Context, at outbox.Place, _ string) error {
	return f.on(func() { f.t.refusals = append(f.t.refusals, at) })
}

func (f *fakeTerm) Quarantine(_ context.Context, exiles []outbox.Exile) error {
	return f.fenced(func() {
		for _, e := range exiles {
			i := slices.IndexFunc(f.t.rows, func(r stored) bool { return r.Place == e.Place })
			f.t.quarantine = append(f.t.quarantine, exiled{e, f.t.rows[i].Row, ""})
			f.t.rows = slices.Delete(f.t.rows, i, i+1)
		}
	})
}

func (f *fakeTerm) Decide(_ context.Context, limit int) (int, error) {
	settled := 0
	return settled, f.fenced(func() {
		f.t.commits++
		slices.SortFunc(f.t.quarantine, func(a, b exiled) int { return int(a.ID - b.ID) })
		undecided := map[string]bool{}
		f.t.quarantine = slices.DeleteFunc(f.t.quarantine, func(q exiled) bool {
			undecided[q.row.Subject] = undecided[q.row.Subject] || q.decided == ""
			if settled == limit || undecided[q.row.Subject] {
				return false
			}
			if settled++; q.decided == "release" {
				q.row.XID = uint64(f.t.commits)
				f.t.rows = append(f.t.rows, stored{q.row, f.t.commits})
			}
			return true
		})
	})
}

func (f *fakeTerm) Release(_ context.Context, c outbox.Cursor) error {
	return f.fenced(func() { f.t.cursor, f.t.expires, f.t.owner = c, time.Time{}, "" })
}

func (f *fakeTerm) Close() {}

// newEvent is an id that holds the time of the story. uuid.NewV7 never goes back
// in time: its ids hold that of whatever story is ahead.
func newEvent() uuid.UUID {
	const bitsOfRand, version = 16, 0x70
	id := uuid.New()
	random := binary.BigEndian.Uint64(id[:]) & (1<<bitsOfRand - 1)
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<bitsOfRand|random)
	id[6] = version | id[6]&0x0f
	return id
}
