package model

import "math/bits"

// Entities are bits of a list. X is the one that its owner deletes and restores.
const (
	itemX uint8 = 1 << iota
	itemA
	itemB
)

// Processes. Whoever holds a row is named by its number + 1.
const (
	writer0 = iota
	writer1
	consumer0
	consumer1
	runner0
	runner1
	operator
	processes
)

var names = [processes]string{"writer 0", "writer 1", "consumer 0", "consumer 1", "runner 0", "runner 1", "operator"}

const (
	lists   = 2 // the first belongs to a user who may be erased
	events  = 3
	byHand  = events // the operation that no event has caused
	records = 4      // on the topic: events, and one that is sent again
)

// phase is the state of an operation; absent: there is none.
type phase uint8

const (
	absent phase = iota
	pending
	running
	compensating
	succeeded
	failed
	cancelled
	compensated
)

func (p phase) open() bool { return p >= pending && p <= compensating }

// mark is the outcome in the inbox.
type mark uint8

const (
	unseen mark = iota
	applied
	deadLettered
)

// head is a list: its head and which items it holds. No id: there is no list.
type head struct{ id, version, items uint8 }

// known is a row of deleted_entities: what counts, and what the owner has said.
type known struct {
	word

	owner word
}

// word is what somebody says of an entity. Source is the number of the operation's cause + 1, and more once it was lifted.
type word struct {
	recorded, deleted bool
	at, source        uint8
}

const lifted = 100 // added to the source by whoever takes a deletion back

// job is an operation. That of event e has the number e.
type job struct {
	phase                 phase
	owner                 uint8
	at                    uint8 // when the entity counts as deleted; 0: an event has recorded it
	begun, stop, undo     bool
	cursor                uint8 // of the undo: lists that are dealt with
	cleaned, told, given  uint8 // lists: with a clean of this operation, with an event of that, with an item put back
	finals, counted, sure uint8 // final parts; lists in the final count; lists that the count must hold
}

// seen is a list as a process has read or written it.
type seen struct{ list, id, version, items uint8 }

// process is what a process has in memory, and its open transaction with it.
type process struct {
	pc, job              uint8 // where it is; which request, record or operation it works on
	id, version, items   uint8 // a list as it was read
	want                 uint8 // its items as they shall be
	todo, locked         uint8 // victims; those that it has locked
	list, record         uint8 // which list; the record's offset
	mem                  uint8 // what it remembers of earlier steps
	tagID, tagVersion    uint8
	tagged, skip, holds  bool
	chunked, first, late bool
	fenced               bool // another has the operation: its epoch is over
}

// world is a state of everything.
type world struct {
	lists         [lists]head
	lastID        uint8
	entity, user  known
	inbox         [events]mark
	entering      [events]uint8 // who has inserted the row of the inbox and not committed
	jobs          [events + 1]job
	locks         [lists]uint8 // of heads
	share, ushare uint8        // who holds a bucket shared: the entity's, the user's
	queue         uint8        // who waits for the entity's bucket exclusively
	procs         [processes]process
	copies        [2]seen // what each writer's process remembers of a list, where processes keep copies

	sent, offset, owner uint8 // records on the topic, the committed offset, the consumer that has the partition
	again               uint8 // the event that was sent again, + 1
	decided             uint8 // when somebody by hand has decided something
	missing             bool  // and what

	// Faults that are left: crashes; partitions that move, and leases that run out, although their owner lives; records, and
	// operations, that fail for good.
	crashes, moves, steals, letters, failures uint8

	// What only the model knows.
	fresh  uint8 // lists whose X was added after the last deletion
	undone uint8 // operations whose undo was accepted
	reborn bool  // the first list was made after its user had come back
	wrong  uint8 // what is wrong: an index of wrongs
}

// wrongs are what can be wrong with a step. A number is cheaper to keep than a text.
var wrongs = []string{
	"", lostUpdate, twoChanges, twice, blindWrite, freshGone, lateClean, latePart, unannounced, overerased, putTwice,
}

const (
	lostUpdate  = "an acknowledged write is lost or half applied"
	twoChanges  = "a list's change has another version than the list"
	twice       = "an entity stands twice in a list"
	blindWrite  = "a write with If-Match replaced what its tag did not show"
	freshGone   = "a clean removed an item that was added after the restoration"
	lateClean   = "a clean removed an item after the restoration was acknowledged"
	latePart    = "a part follows the final part"
	unannounced = "an item was cleaned and no event says so"
	overerased  = "the list of a user who had come back was erased"
	putTwice    = "an undo put an item back twice"
)

// wrongIf notes the first thing that is wrong.
func (w *world) wrongIf(is bool, what string) {
	if !is || w.wrong != 0 {
		return
	}
	for i, name := range wrongs {
		if name == what {
			w.wrong = uint8(i)
		}
	}
}

// now is a clock that is later than every event that was sent, and earlier than the next.
func (w *world) now() uint8 { return 10*w.sent + 5 }

// release ends the transaction of a process.
func (w *world) release(p int) {
	for l := range w.locks {
		if w.locks[l] == holder(p) {
			w.locks[l] = 0
		}
	}
	for e := range w.entering {
		if w.entering[e] == holder(p) {
			w.entering[e] = 0
		}
	}
	w.share &^= 1 << p
	w.ushare &^= 1 << p
	w.queue &^= 1 << p
}

func holder(p int) uint8 { return uint8(p) + 1 }

// commitList gives a list its next version. No list changes in another way.
func (w *world) commitList(l, items uint8) {
	row := &w.lists[l]
	if row.id == 0 {
		w.lastID++
		row.id = w.lastID
		w.reborn = l == 0 && w.user.recorded && !w.user.deleted
	}
	if items&^row.items&itemX != 0 && !w.entity.deleted {
		w.fresh |= 1 << l
	}
	row.version, row.items = row.version+1, items
}

// record is what entitystate does to the entity when an owner has the last word.
func (w *world) record(said word) {
	w.entity.owner = said
	w.overrule(said)
}

// overrule is what entitystate does when an operation has it.
func (w *world) overrule(said word) {
	w.entity.word = said
	if said.deleted {
		w.fresh = 0
	}
}

// victims are the lists that hold X.
func (w *world) victims() (found uint8) {
	for l, row := range w.lists {
		found |= row.items & itemX << l
	}
	return found
}

// lockFree locks those of the lists that nobody else has locked.
func (w *world) lockFree(p int, wanted uint8) (locked uint8) {
	for l := range uint8(lists) {
		if wanted>>l&1 == 1 && w.lists[l].id != 0 && w.locks[l] == 0 {
			w.locks[l] = holder(p)
			locked |= 1 << l
		}
	}
	return locked
}

func count(set uint8) int { return bits.OnesCount8(set) }

func has(set, bit uint8) bool { return set>>bit&1 == 1 }
