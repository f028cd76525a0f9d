package model

// Steps of a consumer. Those of a clean are in sweep.go: the first attempt at one is part of T2.
const (
	cFetch uint8 = iota
	cQueued
	cSeen
	cOffset
	cEraseLock
	cErase
	cErased
	cApply    // broken: the effect after the offset, or after the mark
	cAnnounce // broken: the event of a clean in a transaction of its own
)

// consuming is the program of a consumer: T1 records what is known of the entity, T2 has the effect, then the offset moves.
var consuming = map[uint8]action{
	cFetch:     {"T1", "statements.sql:bucketexclusive statements.sql:entitystate statements.sql:ownersword postgres/state.go:SetState preferences/clean.go:setState"},
	cQueued:    {"waits for the bucket", "statements.sql:bucketexclusive"},
	cSeen:      {"T2: seen", "statements.sql:seen statements.sql:opinsert statements.sql:victims preferences/clean.go:EntityDeleted preferences/clean.go:EntityRestored services/consumer/dispositions.go:bury"},
	cOffset:    {"commits the offset", "services/consumer/run.go:settle kafka/generation.go:commit"},
	cEraseLock: {"T2: seen, user's bucketshared, userdeleted", "statements.sql:userdeleted preferences/user.go:UserDeleted postgres/users.go:EraseUser"},
	cErase:     {"userlock", "statements.sql:userlock"},
	cErased:    {"usererase, emit, commit", "statements.sql:usererase statements.sql:emit"},
}

func (t *turn) consume() {
	p := t.me()
	if p.pc != cFetch && t.crashes > 0 {
		t.or(func(o *turn) {
			o.crashes--
			o.release(o.who)
			*o.me() = process{}
			o.to(cFetch, "crash")
		})
	}
	switch p.pc {
	case cFetch:
		t.fetch()
	case cQueued:
		t.grant()
	case cSeen:
		t.settle()
	case cOffset:
		t.commitOffset()
	case cEraseLock, cErase, cErased:
		t.erase()
	case cApply:
		t.stateTransaction()
	case cAnnounce:
		t.jobs[p.job].told |= p.mem
		t.settled("emit, commit")
	default:
		t.sweep()
	}
}

// fetch begins with the record behind the committed offset. Who has lost the partition may not know it yet.
func (t *turn) fetch() {
	p := t.me()
	if int(t.owner) != t.who {
		if t.moves > 0 {
			t.moves, t.owner = t.moves-1, uint8(t.who)
			t.to(cFetch, "gets the partition")
		}
		return
	}
	if t.offset >= t.length(&t.world) {
		return
	}
	p.job, p.record = t.event(&t.world, t.offset), t.offset
	if t.breaks("offset before the effect") {
		t.offset++
		t.to(cApply, "commits the offset")
		return
	}
	t.stateTransaction()
}

// stateTransaction is T1. It waits for everybody who holds the bucket, and is one step because it holds nothing else; in a
// queue, those who come later wait too.
func (t *turn) stateTransaction() {
	p := t.me()
	t.giveUp("T1 fails for good: dead letter")
	fact := t.log[p.job]
	if t.queued && !fact.user {
		t.queue |= 1 << t.who
		t.to(cQueued, consuming[cQueued].name)
		return
	}
	if fact.user && t.ushare != 0 || !fact.user && t.share != 0 {
		return
	}
	t.takeIn(fact)
	t.to(cSeen, consuming[cFetch].name)
}

// grant is T1 of those who had to wait.
func (t *turn) grant() {
	if t.share != 0 {
		return
	}
	t.queue &^= 1 << t.who
	t.takeIn(t.log[t.me().job])
	t.to(cSeen, consuming[cFetch].name)
}

// takeIn is entitystate: the newest time wins, of equals the one that was processed last, but a deletion that is delivered
// again loses. And it is ownersword: what an owner says of a time before an operation's word is kept until that is undone.
func (t *turn) takeIn(f fact) {
	e := t.me().job
	row := &t.entity
	if f.user {
		row = &t.user
	}
	said := word{true, f.deleted, f.at, e + 1}
	tie := row.at == f.at && (!f.deleted || t.inbox[e] == unseen || t.breaks("a dead letter wins a tie"))
	newer := !row.recorded || row.at < f.at || tie || t.breaks("state without its time")
	if t.inbox[e] != applied && newer {
		if f.user {
			t.user.word = said
			t.reborn = t.reborn && !f.deleted
		} else {
			t.record(said)
		}
	}
	own := t.entity.owner
	latest := !own.recorded || own.at < f.at || own.at == f.at && (!f.deleted || t.inbox[e] == unseen)
	if !f.user && row.at > f.at && latest && !t.breaks("what the owner says late is lost") {
		t.entity.owner = said
	}
	if t.breaks("inbox mark in T1") && t.inbox[e] == unseen {
		t.inbox[e], t.me().first = applied, true
	}
}

// giveUp is what happens to a record that fails for a reason that nobody knows, too often.
func (t *turn) giveUp(what string) {
	e := t.me().job
	if t.letters > 0 && t.inbox[e] == unseen && t.entering[e] == 0 {
		t.or(func(o *turn) {
			o.letters--
			o.inbox[e] = deadLettered
			o.settled(what)
		})
	}
}

// settled is the end of T2.
func (t *turn) settled(what string) {
	p := t.me()
	t.release(t.who)
	*p = process{job: p.job, record: p.record}
	if t.breaks("offset before the effect") {
		*p = process{}
		t.to(cFetch, what)
		return
	}
	t.to(cOffset, what)
}

// settle begins T2. Another T2 of the same event has to end first.
func (t *turn) settle() {
	p := t.me()
	e, f := p.job, t.log[p.job]
	if t.entering[e] != 0 {
		return
	}
	resent := t.inbox[e] == deadLettered && p.record >= t.sent && !t.breaks("a dead letter that is sent again is a duplicate")
	if t.inbox[e] != unseen && !resent && !p.first {
		t.settled("T2: seen before")
		return
	}
	t.giveUp("T2 fails for good: dead letter")
	switch {
	case !f.deleted:
		t.inbox[e] = applied
		t.settled("T2: seen, commit")
	case f.user:
		t.entering[e] = holder(t.who)
		t.to(cEraseLock, "T2: seen")
	default:
		t.entering[e] = holder(t.who)
		t.beginSweep(e)
		if p.chunked {
			t.to(sSave, "T2: seen, opinsert, victims: more than a chunk")
			return
		}
		t.to(sLock, "T2: seen, opinsert, victims")
	}
}

// commitOffset is refused when the partition has another owner.
func (t *turn) commitOffset() {
	p := t.me()
	what := "the commit of the offset is refused"
	if int(t.owner) == t.who && t.offset == p.record {
		t.offset++
		what = consuming[cOffset].name
	}
	*p = process{}
	t.to(cFetch, what)
}

// erase is T2 of a user. The user's bucket keeps T1 away, which would bring the user back; the lists' locks wait for writers.
func (t *turn) erase() {
	p := t.me()
	switch p.pc {
	case cEraseLock:
		if !t.user.deleted && !t.breaks("erasure without the state") {
			t.inbox[p.job] = applied
			t.settled("userdeleted: not any more, commit")
			return
		}
		t.ushare |= 1 << t.who
		t.to(cErase, "user's bucketshared, userdeleted")
	case cErase:
		if t.locks[0] != 0 && t.lists[0].id != 0 {
			return
		}
		p.holds = t.lists[0].id != 0
		if p.holds {
			t.locks[0] = holder(t.who)
		}
		t.to(cErased, consuming[cErase].name)
	default:
		if p.holds {
			t.wrongIf(t.reborn || !t.user.deleted, overerased)
			t.lists[0] = head{}
			t.fresh &^= 1
			for k := range t.jobs { // history goes with the list
				t.jobs[k].cleaned &^= 1
				t.jobs[k].told &^= 1
				t.jobs[k].given &^= 1
			}
		}
		t.inbox[p.job] = applied
		t.settled(consuming[cErased].name)
	}
}
