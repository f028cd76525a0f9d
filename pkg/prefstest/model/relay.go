package model

import "strings"

// rows are those of the outbox, each written by a transaction of its own. The first two are of one list, the last is of
// another.
const rows = 3

const relays = 2

// transaction is how far the writer of a row is.
type transaction uint8

const (
	notBegun transaction = iota
	numbered             // it has a transaction number: an UPDATE takes that before it waits for the row
	emitted              // it has the list's lock, and its row an id
	committed
)

// leading is a relay during a term.
type leading struct {
	leads, fenced bool
	at            uint8 // rows in the snapshot of its last read
	read, flying  uint8 // rows that it has read and not published; on their way to the broker
	acked         uint8 // rows that the broker has
	top           uint8 // broken: the highest id that it has published
}

// outbox is the table, the relays and the topic.
type outbox struct {
	txs                  [rows]transaction
	xid, id, version     [rows]uint8
	xids, ids, versions  uint8
	locked               bool // the first two rows' list
	saved, savedID       uint8
	owner                uint8 // of the lease, + 1
	relays               [relays]leading
	published            uint8 // rows that are on the topic
	again                uint8 // rows that an operator wants to be published again
	anchored             bool
	crashes, expirations uint8
	unordered, backwards bool
}

// Steps of the relay and of those who write for it.
var relaying = map[string]action{
	"number":   {"takes a transaction number", "statements.sql:guardhead"},
	"emit":     {"locks the list, emit", "statements.sql:guardhead statements.sql:emit postgres/record.go:record"},
	"commit":   {"commit", "statements.sql:commit"},
	"claim":    {"claim", "outbox.sql:claim outbox/leader.go:claim"},
	"round":    {"round", "outbox.sql:round outbox.sql:window outbox/deliver.go:read outbox/deliver.go:spread"},
	"publish":  {"publishes", "outbox/deliver.go:send"},
	"ack":      {"is acknowledged", "outbox/deliver.go:settle outbox/ledger.go:published outbox/ledger.go:advance"},
	"save":     {"save", "outbox.sql:save outbox/leader.go:save postgres/outbox_term.go:Save"},
	"reanchor": {"reanchor, rebase", "outbox_control.sql:reanchor outbox_control.sql:rebase postgres/outbox_control.go:anchor"},
}

// relayRule is an exploration of the relay with a rule that is broken, or none.
type relayRule string

// relay is the relay in the face of crashes and of leases that run out. Anchored says that no operator will have everything
// published again.
func relay(crashes, expirations uint8, anchored bool) func(rule string) system[outbox] {
	return func(rule string) system[outbox] {
		r := relayRule(rule)
		return system[outbox]{
			start: outbox{crashes: crashes, expirations: expirations, anchored: anchored}, next: r.next, check: r.check,
		}
	}
}

func (r relayRule) next(o outbox, emit func(who, what string, to outbox)) {
	for i := range rows {
		r.writeRow(o, i, func(step string, to outbox) {
			emit("writer of row "+string(rune('0'+i)), relaying[step].name, to)
		})
	}
	for i := range relays {
		who := "relay " + string(rune('0'+i))
		r.relayRows(o, i, func(what string, to outbox) { emit(who, what, to) })
		if o.crashes > 0 && o.relays[i].leads {
			to := o
			to.crashes, to.relays[i] = to.crashes-1, leading{}
			if to.owner == holder(i) {
				to.owner = 0 // the lease runs out
			}
			emit(who, "crash", to)
		}
	}
	if o.published != 0 && !o.anchored {
		o.anchored, o.again, o.saved, o.savedID, o.owner = true, o.published, 0, 0, 0
		o.fence(relays)
		emit("operator", relaying["reanchor"].name, o)
	}
}

// fence is what a new epoch means for everybody but the one who has it.
func (o *outbox) fence(but int) {
	for i := range o.relays {
		o.relays[i].fenced = o.relays[i].leads && i != but || o.relays[i].fenced && i != but
	}
}

// writeRow is a transaction that writes a row. Those of one list wait for each other.
func (r relayRule) writeRow(o outbox, i int, emit func(step string, to outbox)) {
	listed := i < rows-1
	switch o.txs[i] {
	case notBegun:
		o.txs[i], o.xids = numbered, o.xids+1
		o.xid[i] = o.xids
		if r == "emit before the lock" {
			o.ids++
			o.id[i] = o.ids
		}
		if !listed { // nobody waits for it, and it waits for nobody
			o.ids++
			o.id[i], o.txs[i] = o.ids, committed
			emit("commit", o)
			return
		}
		emit("number", o)
	case numbered:
		if o.locked {
			return
		}
		o.txs[i], o.locked, o.versions = emitted, true, o.versions+1
		o.version[i] = o.versions
		if o.id[i] == 0 {
			o.ids++
			o.id[i] = o.ids
		}
		emit("emit", o)
	case emitted:
		o.txs[i], o.locked = committed, false
		emit("commit", o)
	case committed:
	}
}

// relayRows takes a step of a relay. What it has read it publishes in order, one at a time for each list.
func (r relayRule) relayRows(o outbox, me int, emit func(what string, to outbox)) {
	l := &o.relays[me]
	if !l.leads {
		r.claim(o, me, emit)
		return
	}
	before := o
	if found := r.found(&o, l); found&^l.read&^l.flying&^l.acked != 0 && l.read|l.flying == 0 {
		l.read |= found &^ l.acked
		l.at = o.snapshot()
		emit(relaying["round"].name, o)
	}
	o = before
	if next := r.first(&o, l.read); next < rows && (!r.sameList(l.flying, next) || r == "two in flight on a partition") {
		l.read &^= 1 << next
		l.flying |= 1 << next
		if r == "published before it is acknowledged" {
			l.acked |= 1 << next
		}
		emit(relaying["publish"].name+" row "+string(rune('0'+next)), o)
	}
	for i := range rows {
		o = before
		if has(l.flying, uint8(i)) {
			r.arrive(&o, me, i)
			emit("row "+string(rune('0'+i))+" "+relaying["ack"].name, o)
		}
	}
	o = before
	settled := l.read|l.flying == 0 || r == "published before it is acknowledged" && l.read == 0
	if settled && (l.acked != 0 || l.fenced) { // a lease is renewed also when there is nothing to save
		r.save(o, me, emit)
	}
}

// claim begins a term from the saved cursor, once the lease is free or has run out.
func (r relayRule) claim(o outbox, me int, emit func(what string, to outbox)) {
	if me == 1 && !o.relays[0].leads {
		return // they are alike, so that the first may go first
	}
	free := o.owner == 0 || o.owner == holder(me)
	if !free && o.expirations == 0 {
		return
	}
	if !free {
		o.expirations--
	}
	o.owner = holder(me)
	o.relays[me] = leading{leads: true, at: o.saved, top: o.savedID}
	o.fence(me)
	emit(relaying["claim"].name, o)
}

// snapshot is what is committed.
func (o *outbox) snapshot() (in uint8) {
	for i, tx := range o.txs {
		if tx == committed {
			in |= 1 << i
		}
	}
	return in
}

// found are the rows that a read returns: committed, and not in the snapshot before.
func (r relayRule) found(o *outbox, l *leading) (out uint8) {
	for i := range rows {
		is := o.txs[i] == committed
		switch r {
		case "the cursor is an id":
			is = is && o.id[i] > l.top
		case "a snapshot without those under way":
			is = is && !has(l.at, uint8(i)) && o.xid[i] > o.newest(l.at)
		case "the cursor is the oldest transaction":
			is = is && !has(l.at, uint8(i)) && o.xid[i] < o.oldest()
		default:
			is = is && !has(l.at, uint8(i))
		}
		if is {
			out |= 1 << i
		}
	}
	return out
}

// newest is the highest transaction number among rows.
func (o *outbox) newest(of uint8) (xid uint8) {
	for i := range rows {
		if has(of, uint8(i)) {
			xid = max(xid, o.xid[i])
		}
	}
	return xid
}

// oldest is the lowest transaction number that is under way.
func (o *outbox) oldest() uint8 {
	xid := o.xids + 1
	for i, tx := range o.txs {
		if tx == numbered || tx == emitted {
			xid = min(xid, o.xid[i])
		}
	}
	return xid
}

// first is the row that is next: that of the lowest id.
func (r relayRule) first(o *outbox, of uint8) int {
	next, order := rows, &o.id
	if r == "sorted by transaction" || r == "the cursor is the oldest transaction" {
		order = &o.xid
	}
	for i := range rows {
		if has(of, uint8(i)) && (next == rows || order[i] < order[next]) {
			next = i
		}
	}
	return next
}

// sameList says whether a row of the same list is among these.
func (r relayRule) sameList(among uint8, row int) bool {
	return row < rows-1 && among&(1<<(rows-1)-1) != 0
}

// arrive is a row that reaches the topic, which its relay learns.
func (r relayRule) arrive(o *outbox, me, row int) {
	l := &o.relays[me]
	l.flying &^= 1 << row
	l.acked |= 1 << row
	if r == "the cursor is an id" {
		l.top = max(l.top, o.id[row])
	}
	if other := rows - 2 - row; row < rows-1 && !has(o.published, uint8(row)) {
		earlier := o.version[other] != 0 && o.version[other] < o.version[row]
		o.unordered = o.unordered || earlier && !has(o.published, uint8(other))
	}
	o.published |= 1 << row
	o.again &^= 1 << row
}

// save stores the cursor, unless the epoch is over: then the term is.
func (r relayRule) save(o outbox, me int, emit func(what string, to outbox)) {
	l := &o.relays[me]
	if l.fenced && !strings.HasPrefix(string(r), "save without the epoch") {
		*l = leading{}
		emit("save: fenced off", o)
		return
	}
	o.backwards = o.backwards || r != "save without the epoch, anchored anew" && o.saved&^(l.at|l.acked) != 0
	o.saved, o.savedID = l.at, l.top
	if r == "the cursor is an id" {
		o.saved = l.acked
	}
	l.acked = 0
	emit(relaying["save"].name, o)
}

const (
	outOfOrder  = "a version is on the topic before an older one"
	neverSent   = "a row is never published"
	neverAgain  = "a row that was to be published again is not"
	wentBackEnd = "the cursor went back"
)

func (r relayRule) check(o outbox, end bool) string {
	switch {
	case o.unordered:
		return outOfOrder
	case o.backwards:
		return wentBackEnd
	case end && o.published != 1<<rows-1:
		return neverSent
	case end && o.again != 0:
		return neverAgain
	}
	return ""
}
