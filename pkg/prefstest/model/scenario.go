package model

import "fmt"

// act is what a request does to a list.
type act uint8

const (
	put    act = iota // it shall hold exactly these items
	add               // these too
	remove            // these no longer
)

// request is what a client wants.
type request struct {
	act     act
	list    uint8
	items   uint8
	ifMatch bool // it reads the list first, and sends the tag
	strict  bool // a deleted entity is an error instead of being left out
}

// apply is what a request makes of a list.
func (r request) apply(items uint8) uint8 {
	switch r.act {
	case add:
		return items | r.items
	case remove:
		return items &^ r.items
	default:
		return r.items
	}
}

// fact is what an owner says.
type fact struct {
	deleted bool // else created or restored
	user    bool // of the user of the first list; else of X
	at      uint8
}

// Facts about X, and about the user.
func gone(at uint8) fact      { return fact{deleted: true, at: at} }
func there(at uint8) fact     { return fact{at: at} }
func userGone(at uint8) fact  { return fact{deleted: true, user: true, at: at} }
func userThere(at uint8) fact { return fact{user: true, at: at} }
func holds(items ...uint8) (w world) {
	for i, it := range items {
		if it != 0 {
			w.lastID++
			w.lists[i] = head{w.lastID, 1, it}
		}
	}
	return w
}

// call is what an operator, or reconciliation, does. Each is done once, at any time.
type call uint8

const (
	cleans     call = iota // begins an operation that cleans X
	cancels                // cancels an operation
	undoes                 // has an operation undone
	resends                // sends a dead letter again
	reconciles             // compares with the owner
)

// byOperator is a call, and the operation that it is about.
type byOperator struct {
	call call
	job  uint8
}

// scenario is what does not change while its world is explored.
type scenario struct {
	name    string
	writes  [2][]request
	log     []fact
	calls   []byOperator
	chunk   int  // lists that one transaction cleans; default: all
	slowly  bool // the owner's events come at any time; else they are all there
	copies  bool // processes remember lists from one request to the next
	queued  bool // who waits for a bucket exclusively holds up those who come later
	given   bool // at the end, an undo must have put X back into the first list
	start   world
	variant string // the rule that is broken; empty: none
}

// breaks says whether the rule is the one that this exploration breaks.
func (sc *scenario) breaks(rule string) bool { return sc.variant == rule }

func (sc *scenario) system() system[world] {
	w := sc.start
	w.owner = consumer0
	if !sc.slowly {
		w.sent = uint8(len(sc.log))
	}
	return system[world]{start: w, next: sc.next, check: sc.check}
}

// turn is one process that takes a step, in a copy of the world.
type turn struct {
	*scenario
	world
	who  int
	emit func(who, what string, to world)
}

// me is the process.
func (t *turn) me() *process { return &t.procs[t.who] }

// to ends a step; the process goes on elsewhere in its program.
func (t *turn) to(pc uint8, what string) {
	t.me().pc = pc
	t.emit(names[t.who], what, t.world)
}

// or takes another step that is just as possible.
func (t *turn) or(step func(*turn)) {
	other := *t
	step(&other)
}

// next emits every step that a world allows.
func (sc *scenario) next(w world, emit func(who, what string, to world)) {
	if w.wrong != 0 {
		return
	}
	for p := range processes {
		t := turn{scenario: sc, world: w, who: p, emit: emit}
		switch p {
		case writer0, writer1:
			t.write()
		case consumer0, consumer1:
			t.consume()
		case runner0, runner1:
			t.run()
		default:
			t.operate()
		}
	}
	if int(w.sent) < len(sc.log) {
		w.sent++
		emit("owner", fmt.Sprintf("sends event %d", w.sent-1), w)
	}
}

// length is how many records are on the topic in the end.
func (sc *scenario) length(w *world) uint8 {
	n := w.sent
	if w.again != 0 {
		n++
	}
	return n
}

// event is the one that a record holds.
func (sc *scenario) event(w *world, offset uint8) uint8 {
	if offset < w.sent {
		return offset
	}
	return w.again - 1
}

// check says what is wrong with a world.
func (sc *scenario) check(w world, end bool) string {
	if w.wrong != 0 || !end {
		return wrongs[w.wrong]
	}
	for _, judge := range []func(*world) string{sc.unfinished, sc.jobsWrong, sc.stateWrong, sc.listsWrong} {
		if why := judge(&w); why != "" {
			return why
		}
	}
	return ""
}

// unfinished is what nobody goes on with.
func (sc *scenario) unfinished(w *world) string {
	for p, script := range sc.writes {
		if int(w.procs[p].job) < len(script) {
			return "a writer is stuck"
		}
	}
	if w.offset < sc.length(w) {
		return "a record was never settled"
	}
	for e := range sc.log {
		if w.inbox[e] == unseen {
			return "an event was never applied"
		}
	}
	if w.procs[operator].job < uint8(len(sc.calls)) && w.procs[operator].pc != 0 {
		return "a call is stuck"
	}
	return ""
}

// jobsWrong is about operations: I6 of the invariants.
func (sc *scenario) jobsWrong(w *world) string {
	for e, fact := range sc.log {
		if fact.deleted && !fact.user && w.inbox[e] == applied && w.jobs[e].phase == absent {
			return "a deletion has no operation"
		}
	}
	for k, j := range w.jobs {
		switch {
		case j.phase == absent:
		case j.phase.open():
			return "an operation never ends"
		case j.begun && j.finals != 1:
			return fmt.Sprintf("%d final parts", j.finals)
		case j.cleaned&^j.told != 0:
			return unannounced
		case j.counted != j.sure:
			return "the final count leaves out a list"
		case has(w.undone, uint8(k)) && j.phase != compensated:
			return "an undo that was accepted was not carried out"
		}
	}
	return ""
}

// stateWrong is about what counts as deleted.
func (sc *scenario) stateWrong(w *world) string {
	var newest, newestUser *fact
	for i := range sc.log {
		f := &sc.log[i]
		last := &newest
		if f.user {
			last = &newestUser
		}
		if *last == nil || f.at >= (*last).at {
			*last = f
		}
	}
	if newestUser != nil && w.user.deleted != newestUser.deleted {
		return "the user's state is not the newest one"
	}
	source := w.entity.source - 1
	if w.entity.deleted && source < uint8(len(w.jobs)) && w.jobs[source].phase == compensated {
		return "a deletion that was taken back counts again"
	}
	switch expected := sc.expected(w, newest); {
	case expected == w.entity.deleted:
	case expected && w.jobs[byHand].phase == compensated:
		return "an undo took back what the owner had said"
	default:
		return "the entity's state is not the newest one"
	}
	return ""
}

// expected is whether the entity has to count as deleted.
func (sc *scenario) expected(w *world, newest *fact) bool {
	deleted, at := false, uint8(0)
	if newest != nil {
		deleted, at = newest.deleted, newest.at
		for e, f := range sc.log {
			if f == *newest && w.jobs[e].phase == compensated {
				deleted = false
			}
		}
	}
	if w.decided <= at {
		return deleted
	}
	switch w.jobs[byHand].phase {
	case compensated:
		return deleted
	case succeeded, absent:
		return w.missing
	default:
		return w.entity.deleted // cancelled somewhere on its way
	}
}

// listsWrong is about what is left in lists: I2 of the invariants.
func (sc *scenario) listsWrong(w *world) string {
	stopped := false // what is left then stays on purpose
	for _, j := range w.jobs {
		stopped = stopped || j.phase == cancelled || j.phase == failed
	}
	switch {
	case w.entity.deleted && w.victims() != 0 && !stopped:
		return "a deleted entity is in a list"
	case w.user.deleted && w.lists[0].id != 0:
		return "an erased user has a list"
	case sc.given && w.undone != 0 && !w.entity.deleted && !has(w.victims(), 0):
		return "an undo did not put an item back"
	}
	return ""
}
