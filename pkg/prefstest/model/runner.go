package model

// Steps of a runner. Those of a clean are in sweep.go, numbered from 20.
const (
	rClaim uint8 = iota
	rNext
	rState
	rVictims
	rStop
	uTouched
	uLift
	uLock
	uDecide
	uSave
	uCursor // broken: the cursor in a transaction of its own
)

// carrying is the program of a runner: a clean, or the undo of one.
var carrying = map[uint8]action{
	rClaim:   {"claim", "statements.sql:claim postgres/operations.go:Claim operations/runner.go:takeUp"},
	rNext:    {"oplock, stepbegin, stepnow", "statements.sql:oplock statements.sql:stepbegin statements.sql:stepnow postgres/cleans.go:NextClean preferences/sweep.go:next"},
	rState:   {"T1", "statements.sql:bucketexclusive statements.sql:entitystate preferences/sweep.go:sweep postgres/state.go:SetState"},
	rVictims: {"victims", "statements.sql:victims postgres/cleans.go:Victims preferences/sweep.go:attempt"},
	rStop:    {"oplock, stepend, opfinish: cancelled", "statements.sql:oplock statements.sql:stepend statements.sql:opfinish preferences/sweep.go:stop preferences/sweep.go:breakOff preferences/sweep.go:GiveUp"},
	uTouched: {"stepsbegun, undolists, undobegin", "statements.sql:stepsbegun statements.sql:undolists statements.sql:undobegin postgres/undo.go:Touched preferences/undo.go:undo"},
	uLift:    {"bucketexclusive, ownerlift, statelift", "statements.sql:bucketexclusive statements.sql:ownerlift statements.sql:statelift postgres/undo.go:LiftState"},
	uLock:    {"headlock, list, removals", "statements.sql:headlock statements.sql:list statements.sql:removals postgres/undo.go:removals"},
	uDecide:  {"bucketshared, tombstones", "statements.sql:bucketshared statements.sql:tombstones postgres/write.go:underLock preferences/undo.go:PutBack"},
	uSave:    {"guardhead, ins, change, emit, undosave, commit", "statements.sql:guardhead statements.sql:undosave postgres/undo.go:PutBack"},
}

// endUndo is the last step of an undo.
var endUndo = action{"undoend", "statements.sql:undoend postgres/cleans.go:EndOperation"}

func (t *turn) run() {
	p := t.me()
	if p.pc != rClaim && t.crashes > 0 {
		t.or(func(o *turn) {
			o.crashes--
			if j := &o.jobs[p.job]; j.owner == holder(o.who) {
				j.owner = 0 // its lease runs out
			}
			o.rest("crash")
		})
	}
	switch p.pc {
	case rClaim:
		t.claim()
	case rNext:
		t.nextStep()
	case rState:
		t.recordState()
	case rVictims:
		t.pass()
	case rStop:
		t.breakOff(cancelled, carrying[rStop].name)
	case uTouched, uLift, uLock, uDecide, uSave, uCursor:
		t.takeBack()
	default:
		t.sweep()
	}
}

// rest ends a turn, and its transaction.
func (t *turn) rest(what string) {
	t.release(t.who)
	*t.me() = process{}
	t.to(rClaim, what)
}

// overtaken says whether another runner has the operation, or has ended it.
func (t *turn) overtaken() bool {
	p := t.me()
	j := &t.jobs[p.job]
	return p.fenced || !j.phase.open()
}

// claim takes an open operation that nobody works on; or one whose lease has run out although its runner lives.
func (t *turn) claim() {
	if t.who == runner1 && t.procs[runner0].pc == rClaim {
		return // they are alike, so that the first may go first
	}
	for k := range t.jobs {
		t.or(func(o *turn) {
			j := &o.jobs[k]
			if !j.phase.open() || j.owner != 0 && o.steals == 0 {
				return
			}
			if j.owner != 0 {
				o.steals--
			}
			j.owner = holder(o.who)
			*o.me() = process{job: uint8(k)}
			o.fence(uint8(k))
			if j.phase == compensating {
				o.to(uTouched, "claim, to undo")
				return
			}
			j.phase = running
			o.to(rNext, carrying[rClaim].name)
		})
	}
}

// fence is what the next epoch means for the other runner, if it still believes that it has the operation.
func (t *turn) fence(k uint8) {
	other := &t.procs[runner0+runner1-t.who]
	if other.pc != rClaim && other.job == k {
		other.fenced = true
	}
}

// nextStep begins the operation's entity, unless it was cancelled.
func (t *turn) nextStep() {
	p := t.me()
	j := &t.jobs[p.job]
	if t.overtaken() {
		t.rest("oplock: another runner has it")
		return
	}
	if t.failures > 0 {
		t.or(func(o *turn) {
			o.failures--
			o.jobs[p.job].begun = true
			o.breakOff(failed, "GiveUp: oplock, stepend, opfinish: failed")
		})
	}
	if j.stop {
		t.to(rStop, "oplock: it was cancelled")
		return
	}
	j.begun = true
	if j.at != 0 {
		t.to(rState, carrying[rNext].name)
		return
	}
	t.to(rVictims, carrying[rNext].name)
}

// recordState is T1 of a clean that no event has caused. Its time was fixed with the operation: it may come late, or twice.
func (t *turn) recordState() {
	p := t.me()
	j := &t.jobs[p.job]
	if t.share != 0 {
		return
	}
	if !t.breaks("state without the epoch") && (t.overtaken() || j.phase == compensating) {
		t.rest("oplock: another runner has it")
		return
	}
	at := j.at
	if t.breaks("time taken in T1") {
		at = max(t.now(), t.entity.at+1)
	}
	if !t.entity.recorded || t.entity.at <= at {
		t.overrule(word{true, true, at, p.job + 1})
		if t.breaks("an operation's word replaces the owner's") {
			t.entity.owner = word{}
		}
	}
	t.to(rVictims, carrying[rState].name)
}

// pass begins a pass over the lists.
func (t *turn) pass() {
	p := t.me()
	t.beginSweep(p.job)
	if !p.chunked {
		t.to(sLock, carrying[rVictims].name)
		return
	}
	switch {
	case t.overtaken():
		t.rest("victims, opsave: another runner has it")
	case t.jobs[p.job].stop:
		t.to(rStop, "victims, opsave: it was cancelled")
	default:
		t.to(sLock, "victims, opsave, commit: more than a chunk")
	}
}

// breakOff ends an operation before its end. The final part says so.
func (t *turn) breakOff(how phase, what string) {
	p := t.me()
	j := &t.jobs[p.job]
	if t.overtaken() {
		t.rest("oplock: another runner has it")
		return
	}
	if j.begun {
		j.finals++
	}
	j.sure, j.counted = j.cleaned, j.cleaned
	if j.phase, j.owner = how, 0; j.undo {
		j.phase = compensating
	}
	t.rest(what)
}

// takeBack takes a step of an undo.
func (t *turn) takeBack() {
	p := t.me()
	j := &t.jobs[p.job]
	switch p.pc {
	case uTouched:
		if t.overtaken() {
			t.rest("undobegin: another runner has it")
			return
		}
		p.todo = j.cleaned &^ j.cursor
		t.to(uLift, carrying[uTouched].name)
	case uLift:
		t.lift()
	case uLock:
		t.lockToPutBack()
	case uDecide:
		if !t.breaks("undo without the bucket") {
			t.share |= 1 << t.who
		}
		p.skip = t.entity.deleted && !t.breaks("undo without the tombstones")
		t.to(uSave, carrying[uDecide].name)
	case uSave:
		t.putBack()
	default:
		j.cursor |= 1 << p.list
		t.to(uLock, "undosave, commit")
	}
}

// lift takes back what the operation's cause has said.
func (t *turn) lift() {
	if t.share != 0 {
		return
	}
	anyones := t.breaks("undo lifts any deletion")
	if job := t.me().job; t.jobs[job].begun || anyones {
		t.ownerLift(job, anyones)
		t.stateLift(job+1, anyones)
	}
	t.to(uLock, carrying[uLift].name)
}

// ownerLift takes back the deletion that an owner has announced, and only just.
func (t *turn) ownerLift(job uint8, anyones bool) {
	owner := &t.entity.owner
	if !owner.deleted || owner.source != job+1 && !anyones || t.breaks("undo leaves the owner's word") {
		return
	}
	*owner = word{true, false, owner.at + 1, lifted + job}
	if t.breaks("undo takes the present time") {
		owner.at = max(t.now(), owner.at)
	}
}

// stateLift ends a deletion: what the owner has said last counts.
func (t *turn) stateLift(cause uint8, anyones bool) {
	if !t.entity.deleted || t.entity.source != cause && !anyones {
		return
	}
	owner := t.entity.owner
	said := word{true, owner.deleted, owner.at, owner.source}
	if t.breaks("undo leaves its own time") {
		said.at = t.entity.at + 1
	}
	t.overrule(said)
}

// lockToPutBack locks the next list; without one, the undo ends.
func (t *turn) lockToPutBack() {
	p := t.me()
	j := &t.jobs[p.job]
	if p.todo == 0 {
		if t.overtaken() {
			t.rest("undoend: another runner has it")
			return
		}
		j.phase, j.owner = compensated, 0
		t.rest(endUndo.name)
		return
	}
	for p.list = 0; !has(p.todo, p.list); p.list++ {
	}
	p.todo &^= 1 << p.list
	switch {
	case !has(j.cleaned, p.list): // erased, with its history
		p.skip, p.items = true, 0
		t.to(uSave, "headlock: there is none")
	case t.locks[p.list] == 0:
		t.locks[p.list] = holder(t.who)
		p.items = t.lists[p.list].items
		t.to(uDecide, carrying[uLock].name)
	}
}

// putBack writes as any writer does, and saves the place of the undo in the same transaction.
func (t *turn) putBack() {
	p := t.me()
	j := &t.jobs[p.job]
	if t.overtaken() && !t.breaks("undosave without the epoch") {
		t.rest("undosave: another runner has it")
		return
	}
	there := p.items&itemX != 0
	if !p.skip && (!there || t.breaks("undo without looking at the list")) {
		row := t.lists[p.list]
		t.wrongIf(there, twice)
		t.wrongIf(has(j.given, p.list), putTwice)
		j.given |= 1 << p.list
		t.commitList(p.list, row.items|itemX)
	}
	t.release(t.who)
	*p = process{job: p.job, fenced: p.fenced, todo: p.todo, list: p.list}
	if t.breaks("undo cursor in its own transaction") {
		t.to(uCursor, "guardhead, ins, change, emit, commit")
		return
	}
	j.cursor |= 1 << p.list
	t.to(uLock, carrying[uSave].name)
}
