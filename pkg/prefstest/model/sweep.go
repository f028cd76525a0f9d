package model

// Steps of a clean: the same in T2 of a consumer, for its one attempt, and in a runner. They are numbered behind a consumer's.
const (
	sLock uint8 = iota + 20
	sBucket
	sSave
	sAnnounce // broken: the event in a transaction of its own
	sFinal    // broken: the final part in a transaction of its own
)

var sweeping = map[uint8]action{
	sLock:   {"chunklock", "statements.sql:chunklock postgres/cleans.go:lockLists"},
	sBucket: {"bucketshared, chunkclean", "statements.sql:bucketshared statements.sql:chunkclean postgres/cleans.go:CleanLists"},
	sSave:   {"emit, opsave, commit", "statements.sql:emit statements.sql:stepsave statements.sql:opsave statements.sql:stepend statements.sql:cleaned statements.sql:stepsleft statements.sql:stepsum statements.sql:opfinish preferences/sweep.go:attempt preferences/sweep.go:part preferences/sweep.go:finish"},
}

// beginSweep reads the victims: none if the entity is not deleted (any more).
func (t *turn) beginSweep(k uint8) {
	p := t.me()
	p.job, p.todo, p.locked, p.chunked = k, 0, 0, false
	if t.entity.deleted || t.breaks("a clean ignores the restoration") {
		p.todo = t.victims()
	}
	p.chunked = t.chunk > 0 && count(p.todo) > t.chunk
}

func (t *turn) sweep() {
	p := t.me()
	switch p.pc {
	case sLock:
		wanted := p.todo
		if p.chunked {
			wanted &= -wanted
		}
		p.locked = t.lockFree(t.who, wanted)
		t.to(sBucket, sweeping[sLock].name)
	case sBucket:
		t.chunkClean()
	case sSave:
		t.saveSweep()
	case sAnnounce:
		t.jobs[p.job].told |= p.mem
		t.to(rVictims, "emit, commit")
	default:
		t.jobs[p.job].finals++
		t.rest("emit the final part, commit")
	}
}

func (t *turn) consuming() bool { return t.who == consumer0 || t.who == consumer1 }

// chunkClean finds what to remove: the state and the lists in one snapshot. It holds the bucket, so that a restoration
// either is seen here or waits for the commit.
func (t *turn) chunkClean() {
	p := t.me()
	if t.queue != 0 && p.locked != 0 {
		return
	}
	if p.locked != 0 && !t.breaks("chunk without the bucket") {
		t.share |= 1 << t.who
	}
	p.want = 0
	if t.entity.deleted || t.breaks("a clean ignores the restoration") {
		p.want = p.locked & t.victims()
	}
	t.to(sSave, sweeping[sBucket].name)
}

// saveSweep removes, announces, saves how far the operation is, and commits.
func (t *turn) saveSweep() {
	p := t.me()
	j := &t.jobs[p.job]
	if t.consuming() {
		j.phase, j.begun = pending, true
	} else if fenced := !t.breaks("opsave without the epoch"); fenced && t.overtaken() {
		t.rest("opsave: another runner has it")
		return
	}
	t.removeX(p.want)
	switch all := p.locked == p.todo && !p.chunked; {
	case all:
		t.finish(succeeded)
	default:
		t.savePart()
	}
}

// removeX takes X out of lists that are locked.
func (t *turn) removeX(from uint8) {
	p := t.me()
	j := &t.jobs[p.job]
	t.wrongIf(from&t.fresh != 0, freshGone)
	t.wrongIf(from != 0 && !t.entity.deleted, lateClean)
	t.wrongIf(from != 0 && j.finals > 0, latePart)
	for l := range uint8(lists) {
		if has(from, l) {
			t.commitList(l, t.lists[l].items&^itemX)
		}
	}
	j.cleaned |= from
	if t.breaks("affected users from memory") || t.breaks("event in its own transaction") {
		p.mem |= from
	}
	if !t.breaks("event in its own transaction") {
		j.told |= from
	}
}

// savePart commits what was cleaned, while more is left.
func (t *turn) savePart() {
	p := t.me()
	j := &t.jobs[p.job]
	apart := t.breaks("event in its own transaction") && p.want != 0
	if t.consuming() {
		t.inbox[p.job] = applied
		t.endAttempt(apart, "emit, opsave, commit: a runner goes on")
		return
	}
	t.release(t.who)
	next := process{job: p.job, fenced: p.fenced, mem: p.mem}
	if p.chunked {
		next.todo = p.todo &^ (p.todo & -p.todo)
		next.chunked = next.todo != 0
	}
	*p = next
	switch {
	case apart:
		t.to(sAnnounce, "opsave, commit")
	case j.stop:
		t.to(rStop, "emit, opsave, commit: it was cancelled")
	case p.chunked:
		t.to(sLock, sweeping[sSave].name)
	default:
		t.to(rVictims, sweeping[sSave].name)
	}
}

// endAttempt is the end of T2. A broken consumer commits before it announces.
func (t *turn) endAttempt(apart bool, what string) {
	p := t.me()
	if !apart {
		t.settled(what)
		return
	}
	t.release(t.who)
	*p = process{job: p.job, record: p.record, mem: p.mem}
	t.to(cAnnounce, "opinsert, opsave, commit")
}

// finish ends the clean and its operation, in one commit with its last look at the lists and its final event.
func (t *turn) finish(how phase) {
	p := t.me()
	j := &t.jobs[p.job]
	j.sure, j.counted = j.cleaned, j.cleaned
	if t.breaks("affected users from memory") {
		j.counted = p.mem
	}
	if j.phase = how; j.undo && !t.breaks("opfinish forgets the undo") {
		j.phase = compensating
	}
	j.owner = 0
	switch {
	case t.consuming():
		j.finals++
		t.inbox[p.job] = applied
		t.endAttempt(t.breaks("event in its own transaction") && p.want != 0, "emit the final part, opfinish, commit")
	case t.breaks("final part in its own transaction"):
		t.release(t.who)
		t.to(sFinal, "opfinish, commit")
	default:
		j.finals++
		t.rest("emit the final part, opfinish, commit")
	}
}
