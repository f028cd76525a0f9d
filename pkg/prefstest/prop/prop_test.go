package prop

import (
	"testing"

	"pgregory.net/rapid"
)

// actions are what can be drawn, by name.
type actions map[string]func(*machine)

// with adds other actions.
func (a actions) with(others ...actions) actions {
	out := actions{}
	for _, set := range append(others, a) {
		for name, act := range set {
			out[name] = act
		}
	}
	return out
}

var (
	saving   = actions{"save": (*machine).save, "add": (*machine).add}
	writing  = saving.with(actions{"change": (*machine).change, "drop": (*machine).drop, "batch": (*machine).batch})
	reading  = actions{"look": (*machine).look}
	deleting = actions{"account event": (*machine).accountEvent, "old event": (*machine).oldEvent}
	erasing  = actions{"user event": (*machine).userEvent, "old event": (*machine).oldEvent}
	cleaning = actions{"clean": (*machine).clean, "clean many": (*machine).cleanMany, "runner": (*machine).runner}
	undoings = actions{"take back": (*machine).takeBack}
	pasts    = actions{"go back": (*machine).goBack, "history": (*machine).readHistory}
	keyed    = actions{"again": (*machine).again}
	copying  = actions{"follow": (*machine).follow, "catch up": (*machine).catchUp}
	paging   = actions{"turn page": (*machine).turnPage, "sorted": (*machine).sorted}
)

// check draws sequences of actions.
func check(t *testing.T, what actions, needs ...string) {
	t.Helper()
	w := begin(t)
	rapid.Check(t, func(t *rapid.T) {
		m := w.run(t)
		steps := map[string]func(*rapid.T){}
		for name, act := range what {
			steps[name] = func(*rapid.T) { act(m) }
		}
		m.furnish()
		t.Repeat(steps)
		m.reckon()
	})
	w.sound()
	w.enough(append(needs, "writes", "requests")...)
}

// TestListsAreWhatTheirUsersWrite: every write, with and without conditions.
func TestListsAreWhatTheirUsersWrite(t *testing.T) {
	t.Parallel()
	check(t, writing.with(reading, actions{"rehearse": (*machine).rehearse, "slip": (*machine).slip}),
		"writes that change nothing", "rehearsals", "slips", "precondition failed", "already exists", "not found", "reads with a condition", "reads that find nothing new")
}

// TestVersionsComeBack: the history tells how a list came about, and any version of it can be had again.
func TestVersionsComeBack(t *testing.T) {
	t.Parallel()
	check(t, saving.with(pasts, actions{"change": (*machine).change, "account event": (*machine).accountEvent}),
		"versions brought back", "histories", "precondition failed", "deletions that met a list", "deleted accounts left out")
}

// TestARequestWithAKeyHappensOnce, however often it is sent, whatever has happened since.
func TestARequestWithAKeyHappensOnce(t *testing.T) {
	t.Parallel()
	check(t, writing.with(keyed, actions{"go back": (*machine).goBack, "user event": (*machine).userEvent}),
		"repeated requests", "idempotency key reused", "precondition failed", "users erased")
}

// TestACopyThatTakesInTheChangesIsTheList, also over deletions and erasures.
func TestACopyThatTakesInTheChangesIsTheList(t *testing.T) {
	t.Parallel()
	check(t, copying.with(actions{
		"save": (*machine).save, "change": (*machine).change, "drop": (*machine).drop, "clean": (*machine).clean, "user event": (*machine).userEvent,
	}),
		"copies brought up to date", "cleans that met a list", "cleans that left gaps", "users erased")
}

// TestPagesMissNothing while a list changes from page to page.
func TestPagesMissNothing(t *testing.T) {
	t.Parallel()
	check(t, saving.with(paging, actions{"change": (*machine).change, "account event": (*machine).accountEvent, "clean": (*machine).clean}),
		"lists read by pages", "lists that changed from page to page", "sorted reads", "deletions that met a list")
}

// TestDeletedAccountsStayAway, until their owner says otherwise.
func TestDeletedAccountsStayAway(t *testing.T) {
	t.Parallel()
	check(t, writing.with(deleting, actions{"go back": (*machine).goBack, "poison": (*machine).poison}),
		"deletions that met a list", "deleted accounts left out", "entity deleted", "events duplicate", "events dead_lettered", cleaned, letter)
}

// TestErasedUsersAreForgotten, with their history and their keys.
func TestErasedUsersAreForgotten(t *testing.T) {
	t.Parallel()
	check(t, saving.with(erasing, pasts, keyed, actions{"account event": (*machine).accountEvent}),
		"users erased", "user deleted", "repeated requests", erased)
}

// TestCleansAreTakenBack: what an operator or an event has taken out of lists comes back, as far as nobody said otherwise.
func TestCleansAreTakenBack(t *testing.T) {
	t.Parallel()
	check(t, saving.with(cleaning, undoings, actions{"drop": (*machine).drop, "account event": (*machine).accountEvent, "history": (*machine).readHistory}),
		"cleans that met a list", "cleans that left gaps", "cleans that wait", "undos", "undone cleans that had met a list", "operation finished")
}

// TestOwnersEventsMayComeInAnyOrder, more than once and late: what counts is what happened last.
func TestOwnersEventsMayComeInAnyOrder(t *testing.T) {
	t.Parallel()
	w := begin(t)
	rapid.Check(t, func(t *rapid.T) {
		m := w.run(t)
		m.stream()
		m.reckon()
	})
	w.sound()
	w.enough("writes", "events applied", "events duplicate", "events out of order", "deletions that met a list", "entity deleted", "user deleted",
		"precondition failed", updated, cleaned, erased)
}

// TestAllOfItAtOnce: everything that can be drawn, in one run.
func TestAllOfItAtOnce(t *testing.T) {
	t.Parallel()
	check(t, writing.with(reading, deleting, erasing, cleaning, undoings, pasts, keyed, copying, paging),
		"precondition failed", "deletions that met a list", "cleans that met a list", "undone cleans that had met a list", "versions brought back",
		"repeated requests", "copies brought up to date", "lists read by pages", "users erased")
}
