package model

// What operators do, and reconciliation.
var calling = map[call]action{
	cleans:     {"calls for a clean", "statements.sql:statetimes statements.sql:opinsert preferences/order.go:openCleaning"},
	cancels:    {"cancels", "statements.sql:opcancel postgres/operations.go:StopOperation"},
	undoes:     {"has it undone", "statements.sql:opcancel preferences/operations.go:UndoOperation"},
	resends:    {"sends a dead letter again", "statements.sql:seen"},
	reconciles: {"asks the owner", "statements.sql:now reconcile/reconcile.go:ask reconcile/reconcile.go:lift postgres/reconcile.go:reconcile"},
}

// Steps of a call: most have one.
const (
	oCall uint8 = iota
	oAsk
	oAct
)

func (t *turn) operate() {
	p := t.me()
	if int(p.job) >= len(t.calls) {
		return
	}
	c := t.calls[p.job]
	switch c.call {
	case cleans:
		t.jobs[byHand] = job{phase: pending, at: max(t.now(), t.entity.at+1)}
		t.decided, t.missing = t.jobs[byHand].at, true
		t.called(calling[cleans].name)
	case cancels, undoes:
		t.stop(c)
	case resends:
		for e, m := range t.inbox {
			if m == deadLettered && t.again == 0 {
				t.again = uint8(e) + 1
				t.called(calling[resends].name)
			}
		}
	case reconciles:
		t.reconcile()
	}
}

// called ends a call.
func (t *turn) called(what string) {
	*t.me() = process{job: t.me().job + 1}
	t.to(oCall, what)
}

// stop is opcancel: too late for one that has ended, unless it is to be undone.
func (t *turn) stop(c byOperator) {
	j := &t.jobs[c.job]
	undo := c.call == undoes
	switch {
	case j.phase == absent: // not yet
	case j.phase == pending, j.phase == running:
		j.stop, j.undo = true, j.undo || undo
		t.accept(c)
	case undo && (j.phase == succeeded || j.phase == failed || j.phase == cancelled):
		j.phase, j.undo = compensating, true
		t.accept(c)
	default:
		t.called("is too late")
	}
}

func (t *turn) accept(c byOperator) {
	if c.call == undoes {
		t.undone |= 1 << c.job
	}
	t.called(calling[c.call].name)
}

// reconcile fixes its time before it asks, so that whatever happens afterwards is newer.
func (t *turn) reconcile() {
	p := t.me()
	switch p.pc {
	case oCall:
		p.mem = t.now()
		t.to(oAsk, "reads the time")
	case oAsk:
		if t.sent > 0 {
			t.missing = t.log[t.sent-1].deleted
		}
		p.skip = t.missing
		t.to(oAct, calling[reconciles].name)
	default:
		at := p.mem
		switch {
		case p.skip:
			t.jobs[byHand] = job{phase: pending, at: at}
			t.decided, t.missing = at, true
			t.called("opinsert")
		case t.share == 0:
			if t.breaks("time taken in T1") {
				at = max(t.now(), t.entity.at+1)
			}
			if t.entity.recorded && t.entity.at <= at {
				t.record(word{true, false, at, lifted + byHand})
			}
			t.decided, t.missing = p.mem, false
			t.called("T1 restored")
		}
	}
}
