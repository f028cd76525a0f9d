package model

// Steps of a writer, which is an API request.
const (
	wRead uint8 = iota
	wGuard
	wLive
	wBucketLate
	wSave
	wLock
	wList
	wTombstones
	wUser
	wEnsure
	wLockNew
)

// What a writer remembers of its guess.
const (
	guessed uint8 = iota + 1
	refused
)

// writing is the program of a writer: the optimistic path, then the locked one.
var writing = map[uint8]action{
	wRead:       {"list", "statements.sql:list postgres/write.go:optimistic postgres/write.go:guess"},
	wGuard:      {"guardhead", "statements.sql:begin statements.sql:guardhead postgres/write.go:guardHead"},
	wLive:       {"bucketshared, guardlive", "statements.sql:bucketshared statements.sql:guardlive postgres/buckets.go:guards"},
	wBucketLate: {"bucketshared", "statements.sql:bucketshared"},
	wSave:       {"del, upd, ins, change, emit, commit", "statements.sql:del statements.sql:upd statements.sql:ins statements.sql:change statements.sql:emit statements.sql:commit postgres/record.go:record"},
	wLock:       {"lock", "statements.sql:lock postgres/write.go:locked postgres/write.go:lock"},
	wList:       {"list under the lock", "statements.sql:list postgres/write.go:underLock"},
	wTombstones: {"bucketshared, tombstones", "statements.sql:bucketshared statements.sql:tombstones postgres/write.go:underLock"},
	wUser:       {"user's bucketshared, guardlive", "statements.sql:bucketshared statements.sql:guardlive postgres/write.go:guardUser"},
	wEnsure:     {"ensure", "statements.sql:ensure"},
	wLockNew:    {"lock", "statements.sql:lock"},
}

// write takes a step of the request that a writer is at.
func (t *turn) write() {
	p := t.me()
	if int(p.job) >= len(t.writes[t.who]) {
		return
	}
	if p.pc != wRead && t.crashes > 0 {
		t.or(func(o *turn) { o.crashes--; o.answered("crash") })
	}
	switch p.pc {
	case wRead:
		t.readList()
	case wGuard:
		t.guardHead()
	case wLive:
		t.guardLive()
	case wBucketLate:
		t.share |= 1 << t.who
		t.to(wSave, writing[wBucketLate].name)
	case wSave:
		t.saveWrite()
	default:
		t.writeLocked()
	}
}

func (t *turn) request() request { return t.writes[t.who][t.me().job] }

// answered ends a request.
func (t *turn) answered(how string) {
	t.release(t.who)
	*t.me() = process{job: t.me().job + 1}
	t.to(wRead, how)
}

// restart rolls back and goes on with the locked path.
func (t *turn) restart(pc uint8, how string) {
	t.release(t.who)
	p := t.me()
	*p = process{job: p.job, tagged: p.tagged, tagID: p.tagID, tagVersion: p.tagVersion}
	t.to(pc, how)
}

// fits says whether the list is the one that the request's tag shows.
func (t *turn) fits() bool {
	p, row := t.me(), t.lists[t.request().list]
	sameList := p.tagID == row.id || t.breaks("tag without the list")
	return !t.request().ifMatch || sameList && p.tagVersion == row.version
}

// keep remembers a list that was read, and what the request makes of it.
func (t *turn) keep() {
	p, row := t.me(), t.lists[t.request().list]
	p.id, p.version, p.items, p.want = row.id, row.version, row.items, t.request().apply(row.items)
}

func (t *turn) addsX() bool { return t.me().want&^t.me().items&itemX != 0 }

// readList reads without a lock and decides.
func (t *turn) readList() {
	p, row := t.me(), t.lists[t.request().list]
	if r := t.request(); r.ifMatch && !p.tagged {
		p.tagged, p.tagID, p.tagVersion = true, row.id, row.version
		t.to(wRead, "reads the list and keeps its tag")
		return
	}
	t.guess()
	if t.scenario.copies {
		t.or(func(o *turn) { o.decide() }) // there may be no room for another copy
	}
	t.remember()
	t.decide()
}

// decide is what becomes of a list that was read.
func (t *turn) decide() {
	r := t.request()
	row := t.lists[r.list]
	switch {
	case !t.fits():
		t.answered("list: 412")
	case r.apply(row.items) == row.items:
		t.answered("list: nothing to change")
	case row.id == 0:
		t.to(wUser, "list: there is none")
	default:
		t.keep()
		if t.breaks("bucket before the head") && t.addsX() {
			t.to(wLive, "list")
			return
		}
		t.to(wGuard, "list")
	}
}

// remember keeps a copy of the list as it is.
func (t *turn) remember() {
	if row := t.lists[t.request().list]; t.scenario.copies {
		t.world.copies[t.who] = seen{t.request().list, row.id, row.version, row.items}
	}
}

// guess may go on with the copy that the process has, as if the list had just been read. What the copy refuses, or what would
// change nothing in it, proves nothing.
func (t *turn) guess() {
	r, was := t.request(), t.world.copies[t.who]
	want, p := r.apply(was.items), t.me()
	shown := !r.ifMatch || p.tagID == was.id && p.tagVersion == was.version
	if was.id == 0 || was.list != r.list || !shown || p.mem == refused {
		return
	}
	if want == was.items {
		if t.breaks("a copy says that nothing changes") {
			row := t.lists[r.list]
			t.or(func(o *turn) {
				o.wrongIf(r.apply(row.items) != row.items, lostUpdate)
				o.answered("the copy of the list: nothing to change")
			})
		}
		return
	}
	t.or(func(o *turn) {
		p := o.me()
		p.id, p.version, p.items, p.want, p.mem = was.id, was.version, was.items, want, guessed
		o.to(wGuard, "the copy of the list")
	})
}

// guardHead locks the head if it is the one that was read. It waits for whoever has it.
func (t *turn) guardHead() {
	p, r := t.me(), t.request()
	row := t.lists[r.list]
	if t.locks[r.list] != 0 {
		return
	}
	holds := row.id != 0 && row.id == p.id && row.version == p.version
	holds = holds || row.id != 0 && t.breaks("guard without version")
	switch {
	case holds:
		t.locks[r.list] = holder(t.who)
		p.holds = t.entity.deleted && t.breaks("REPEATABLE READ writer") // what its snapshot shows
		pc := wSave
		if t.addsX() && !t.breaks("bucket before the head") {
			pc = wLive
		}
		t.to(pc, "guardhead")
	case p.mem == guessed:
		t.release(t.who)
		*p = process{job: p.job, tagged: p.tagged, tagID: p.tagID, tagVersion: p.tagVersion, mem: refused}
		t.to(wRead, "guardhead: the copy is not current")
	case r.ifMatch:
		t.answered("guardhead: overtaken, 412")
	default:
		t.restart(wLock, "guardhead: overtaken")
	}
}

// guardLive takes the bucket, which who waits for it exclusively may hold up, and looks for the tombstone.
func (t *turn) guardLive() {
	if t.queue != 0 && !t.breaks("no bucket lock") {
		return
	}
	dead := t.entity.deleted
	if t.breaks("REPEATABLE READ writer") {
		dead = t.me().holds
	}
	if dead {
		t.restart(wLock, "guardlive: deleted")
		return
	}
	switch {
	case t.breaks("tombstone before the bucket"):
		t.to(wBucketLate, "guardlive")
		return
	case !t.breaks("no bucket lock"):
		t.share |= 1 << t.who
	}
	pc := wSave
	if t.breaks("bucket before the head") {
		pc = wGuard
	}
	t.to(pc, writing[wLive].name)
}

// saveWrite writes what differs from what was read, and commits.
func (t *turn) saveWrite() {
	p, r := t.me(), t.request()
	row := t.lists[r.list]
	means := r.apply(row.items)
	if p.skip {
		means &^= itemX
	}
	del, ins := p.items&^p.want, p.want&^p.items
	t.wrongIf(ins&row.items != 0, twice)
	t.wrongIf(row.id != 0 && p.version != row.version, twoChanges)
	t.wrongIf(row.items&^del|ins != means, lostUpdate)
	t.wrongIf(!t.tagShows(), blindWrite)
	t.commitList(r.list, row.items&^del|ins)
	t.remember()
	t.answered(writing[wSave].name)
}

// tagShows says whether the tag showed this very list.
func (t *turn) tagShows() bool {
	p, row := t.me(), t.lists[t.request().list]
	return !t.request().ifMatch || p.tagID == row.id && p.tagVersion == row.version
}

// writeLocked takes a step of the path under the lock.
func (t *turn) writeLocked() {
	p, r := t.me(), t.request()
	row, free := t.lists[r.list], t.locks[r.list] == 0
	switch p.pc {
	case wLock:
		t.lockHead()
	case wList:
		t.listLocked()
	case wTombstones:
		t.lookForTombstones()
	case wUser:
		if r.list == 0 && t.user.deleted {
			t.answered("guardlive: the user is deleted, 403")
			return
		}
		if r.list == 0 && !t.breaks("no user bucket") {
			t.ushare |= 1 << t.who
		}
		t.to(wEnsure, writing[wUser].name)
	case wEnsure:
		switch {
		case row.id != 0:
			t.to(wLockNew, "ensure: it exists")
		case free || t.breaks("no ensure"): // another's insert of the same key has to end first
			if t.breaks("no ensure") {
				t.to(wList, "lock: none, and none is made")
				return
			}
			t.locks[r.list] = holder(t.who)
			t.to(wList, "ensure, lock")
		}
	default:
		if free && row.id != 0 {
			t.locks[r.list] = holder(t.who)
			t.to(wList, "lock")
		} else if row.id == 0 {
			t.restart(wUser, "lock: erased meanwhile")
		}
	}
}

// lockHead waits for the head. A statement that also reads the list has its snapshot from before it waits.
func (t *turn) lockHead() {
	p, r := t.me(), t.request()
	row, free := t.lists[r.list], t.locks[r.list] == 0
	oneStatement := t.breaks("lock and list in one statement")
	switch {
	case row.id == 0:
		t.restart(wUser, "lock: there is none")
	case free:
		t.locks[r.list] = holder(t.who)
		if !p.late {
			t.keep()
		}
		p.id, p.version = row.id, row.version
		t.to(wList, "lock")
	case oneStatement && !p.late:
		t.keep()
		p.late = true
		t.to(wLock, "lock waits, with a snapshot of the items")
	}
}

func (t *turn) listLocked() {
	p := t.me()
	if !p.late {
		t.keep()
	}
	switch {
	case !t.fits():
		t.answered("list under the lock: 412")
	case p.want == p.items:
		t.answered("list under the lock: nothing to change")
	case t.addsX():
		t.to(wTombstones, writing[wList].name)
	default:
		t.to(wSave, writing[wList].name)
	}
}

func (t *turn) lookForTombstones() {
	p := t.me()
	if t.queue != 0 && !t.breaks("no bucket lock") {
		return
	}
	if !t.breaks("no bucket lock") {
		t.share |= 1 << t.who
	}
	if !t.entity.deleted {
		t.to(wSave, writing[wTombstones].name)
		return
	}
	p.want, p.skip = p.want&^itemX, true
	switch {
	case t.request().strict:
		t.answered("tombstones: 409")
	case p.want == p.items:
		t.answered("tombstones: nothing is left to change")
	default:
		t.to(wSave, "bucketshared, tombstones: X is left out")
	}
}
