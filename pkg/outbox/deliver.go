package outbox

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/prefsd/prefsd/pkg/crashpoint"
)

// routeWithin bounds how long the first look at a cluster may take.
const routeWithin = 100 * time.Millisecond

// read looks for rows and sends them on their way.
func (l *leader) read(db context.Context) error {
	ctx, cancel := context.WithDeadline(db, l.deadline)
	defer cancel()
	l.poked = false
	if l.win != nil {
		return l.page(ctx, db)
	}
	began := time.Now()
	round, err := l.turn().Round(ctx, l.at, l.r.cfg.limit())
	if err != nil {
		return err
	}
	if round.Partial {
		l.openWindow(db, Cursor{Snapshot: l.at.Snapshot, Window: round.Snapshot})
		return nil
	}
	crashpoint.Hit("round.read")
	l.pace.add(began, len(round.Rows))
	l.nextRead = began.Add(l.r.cfg.Poll)
	if l.pace.busy {
		l.nextRead = began.Add(l.r.cfg.BusyPoll)
	}
	return l.spread(ctx, Cursor{Snapshot: round.Snapshot}, round.Rows)
}

// page takes the next rows of a backlog, and has those behind them read while
// these are on their way.
func (l *leader) page(ctx, db context.Context) error {
	l.win.prefetch(db, l.term, l.deadline, l.r.cfg.limit())
	p := l.win.fetched()
	if p.err != nil {
		return p.err
	}
	crashpoint.Hit("page.read")
	end := l.win.after(l.win.next(p.covered))
	if end.Window == "" {
		l.win.close()
		l.win = nil
	}
	l.nextRead = time.Time{}
	if err := l.spread(ctx, end, p.rows); err != nil {
		return err
	}
	if l.win != nil {
		l.win.prefetch(db, l.term, l.deadline, l.r.cfg.limit())
	}
	return nil
}

// parcel is what goes to one lane at once.
type parcel struct {
	lane  *lane
	items []item
	msgs  []Message
}

// spread enters the rows of a read, which ends at the cursor, and hands them to
// their lanes.
func (l *leader) spread(ctx context.Context, end Cursor, rows []Row) error {
	end.MaxID = l.at.MaxID
	rd := l.ledger.add(end, rows)
	l.at = rd.end
	l.reads++
	l.fresh = 0
	msgs := make([]Message, len(rows))
	for i := range rows {
		msgs[i] = message(&rows[i], l.r.cfg.EventSource)
	}
	names := l.route(ctx, msgs)
	now := time.Now()
	l.patience = now.Add(l.r.cfg.Patience)
	var out exiles
	var parcels []*parcel
	var idle []*lane // nothing of what was read has to go there
	byLane := map[*lane]*parcel{}
	for i := range rows {
		it := itemOf(&rows[i], rd)
		ln := l.lanes.enter(&it, names[i])
		switch {
		case l.recall(it.Place):
			l.published(ctx, &it)
			idle = append(idle, ln)
		case out.addUnfit(it, &rows[i]):
			idle = append(idle, ln)
		case byLane[ln] == nil && !ln.free(now):
			ln.waiting = append(ln.waiting, it)
		default:
			p := byLane[ln]
			if p == nil {
				p = &parcel{lane: ln}
				byLane[ln] = p
				parcels = append(parcels, p)
			}
			p.items, p.msgs = append(p.items, it), append(p.msgs, msgs[i])
		}
	}
	if err := l.exile(ctx, out); err != nil {
		return err
	}
	err := l.send(l.reads, parcels...)
	for _, ln := range idle {
		l.lanes.tidy(ln)
	}
	return err
}

func (l *leader) route(ctx context.Context, msgs []Message) []string {
	if len(msgs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, routeWithin)
	defer cancel()
	names := l.r.publisher.Route(ctx, msgs)
	for i := range names {
		names[i] = cmp.Or(names[i], msgs[i].Topic)
	}
	return names
}

func itemOf(row *Row, rd *read) item {
	it := item{Place: row.Place, event: row.EventID, written: row.Written, read: rd}
	if row.Subject != "" {
		it.subject = row.Topic + "\x00" + row.Subject
	}
	return it
}

// send publishes parcels, each beside the others.
func (l *leader) send(read int, parcels ...*parcel) error {
	began := time.Now()
	if due(l.deadline, began) {
		return errLapsed
	}
	for _, p := range parcels {
		p.lane.underway = true
		l.underway++
		if read == l.reads {
			l.fresh++
		}
		d := delivery{lane: p.lane, items: p.items, read: read, began: began}
		go func() {
			d.errs = l.r.publisher.Publish(l.publishing, p.msgs)
			l.deliveries <- d
		}()
	}
	return nil
}

// resume reads the first of a lane's waiting rows again and publishes them.
func (l *leader) resume(ctx context.Context, ln *lane) error {
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	places := make([]Place, 0, min(len(ln.waiting), l.r.cfg.Batch))
	for _, it := range ln.waiting[:cap(places)] {
		places = append(places, it.Place)
	}
	rows, covered, err := l.turn().Rows(ctx, places, l.r.cfg.limit())
	if err != nil {
		return err
	}
	items := ln.waiting[:covered]
	ln.waiting = ln.waiting[covered:]
	p := &parcel{lane: ln}
	var out exiles
	for _, it := range items {
		switch {
		case len(rows) == 0 || rows[0].Place != it.Place: // deleted by hand: nothing is left to publish
			l.settled(&it)
			continue
		case out.addUnfit(it, &rows[0]):
		default:
			p.items, p.msgs = append(p.items, it), append(p.msgs, message(&rows[0], l.r.cfg.EventSource))
		}
		rows = rows[1:]
	}
	if err := l.exile(ctx, out); err != nil {
		return err
	}
	if len(p.items) == 0 {
		l.lanes.tidy(ln)
		return nil
	}
	return l.send(0, p)
}

// settle takes in what the broker said.
func (l *leader) settle(ctx context.Context, d delivery) error {
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	now := time.Now()
	d.lane.underway = false
	l.underway--
	if d.read == l.reads {
		l.fresh--
	}
	v := l.judge(ctx, d)
	crashpoint.Hit("answer.taken")
	if v.answered {
		l.heard(now)
	}
	if v.acknowledged {
		d.lane.failures = 0
	}
	d.lane.waiting = v.out.follow(append(v.rest, d.lane.waiting...))
	if err := l.exile(ctx, v.out); err != nil {
		return err
	}
	l.lanes.tidy(d.lane)
	if v.cause == nil {
		return nil
	}
	d.lane.fail(now)
	l.r.noteFailure(v.cause)
	l.r.warnUnpublished(ctx, v.cause)
	if _, ok := errors.AsType[*Refused](v.cause); ok {
		return l.turn().Refused(ctx, v.first, v.cause.Error())
	}
	if l.downSince.IsZero() && !l.answered.After(d.began) {
		l.downSince = now
	}
	return nil
}

// verdict is what the results of a delivery amount to.
type verdict struct {
	acknowledged bool   // something was written
	answered     bool   // the broker is there
	rest         []item // to be tried again
	cause        error  // why the first of them was not written, if that is known
	first        Place
	out          exiles
}

func (l *leader) judge(ctx context.Context, d delivery) verdict {
	var v verdict
	for i := range d.items {
		it, err := d.items[i], d.errs[i]
		refused, isRefused := errors.AsType[*Refused](err)
		v.answered = v.answered || err == nil || isRefused
		switch {
		case err == nil:
			v.acknowledged = true
			l.published(ctx, &it)
		case v.out.addFollower(it):
		case isRefused && refused.Permanent:
			v.out.addRefused(it, err)
		default:
			v.rest = append(v.rest, it)
			if v.cause == nil && !errors.Is(err, ErrNotSent) {
				v.cause, v.first = err, it.Place
			}
		}
	}
	return v
}

// acknowledge takes in only what was written.
func (l *leader) acknowledge(ctx context.Context, d delivery) {
	for i := range d.items {
		if d.errs[i] == nil {
			l.published(ctx, &d.items[i])
		}
	}
}

// heard notes that the broker speaks. If all were waiting for that, they need
// not wait any longer.
func (l *leader) heard(now time.Time) {
	l.answered = now
	if !l.downSince.IsZero() && now.Sub(l.downSince) > outage {
		l.lanes.hurry(now)
	}
	l.downSince = time.Time{}
}

// outage is how long the broker must have been silent for its return to be one.
const outage = 500 * time.Millisecond

func (l *leader) published(ctx context.Context, it *item) {
	l.ledger.published(it.read, sent{it.Place, it.event})
	l.lanes.leave(it)
	l.r.metrics.published(ctx, time.Since(it.written))
}

func (l *leader) settled(it *item) {
	l.ledger.settled(it.read)
	l.lanes.leave(it)
}
