package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/prefsd/prefsd/pkg/events"
)

// announcement is all that is known about one clean.
type announcement struct {
	clean
	parts     []events.Cleaned
	changes   []CleanChange
	operation *CleanOperation
}

// announced is I6: the parts of preferences.cleaned of a cause and an entity
// name exactly the lists that the history says it cleaned, and exactly one of
// them is final, once it has ended.
func (r *Report) announced(operations []CleanOperation, changes []CleanChange, l ledger) {
	all := map[clean]*announcement{}
	of := func(c clean) *announcement {
		if all[c] == nil {
			all[c] = &announcement{clean: c, parts: l.parts[c]}
		}
		return all[c]
	}
	for c := range l.parts {
		of(c)
	}
	for _, c := range changes {
		a := of(clean{c.Cause, c.Entity})
		a.changes = append(a.changes, c)
	}
	for _, o := range operations {
		of(clean{o.Cause, o.Entity}).operation = &o
	}
	r.Cleans = len(all)
	for _, c := range slices.SortedFunc(maps.Keys(all), func(a, b clean) int { return cmp.Compare(a.String(), b.String()) }) {
		r.announcement(all[c], l)
	}
}

func (r *Report) announcement(a *announcement, l ledger) {
	lost := slices.DeleteFunc(slices.Clone(a.changes), func(c CleanChange) bool { return !l.lacks(c.ListID, c.Version, c.Time) })
	o := a.operation
	switch {
	case len(a.parts) > 0:
		r.parts(a, l)
		r.ending(a)
		r.named(a, lost, l)
	case len(lost) > 0:
		r.add("I6", a.String(), "cleaned %d lists and never said so", len(lost))
	case o != nil && !o.Open && l.unpruned(o.Created):
		r.add("I6", a.String(), "ended and never said so")
	}
}

// parts checks that they are numbered and counted without a hole.
func (r *Report) parts(a *announcement, l ledger) {
	number, deleted := 0, int64(0)
	if first := a.parts[0]; l.since.IsZero() { // those before it may have been pruned
		number, deleted = first.Part-1, first.TotalDeleted-int64(len(first.Lists))
	}
	for _, p := range a.parts {
		number, deleted = number+1, deleted+int64(len(p.Lists))
		if p.Part != number {
			r.add("I6", a.String(), "has part %d where %d belongs", p.Part, number)
		}
		if p.TotalDeleted != deleted {
			r.add("I6", a.String(), "counts %d items up to part %d where %d belong", p.TotalDeleted, p.Part, deleted)
		}
		for _, l := range p.Lists {
			if !slices.Contains(p.AffectedUsers, l.UserID) {
				r.add("I6", a.String(), "names list %d in part %d and not its user", l.ListID, p.Part)
			}
		}
		number, deleted = p.Part, p.TotalDeleted
	}
}

// ending checks that a clean has one end, the last part, and says how it ended.
func (r *Report) ending(a *announcement) {
	finals, o, last := 0, a.operation, a.parts[len(a.parts)-1]
	for _, p := range a.parts {
		if p.Final {
			finals++
		}
	}
	want := 1
	if o != nil && o.Open {
		want = 0
	}
	switch {
	case finals != want:
		r.add("I6", a.String(), "has %d final parts where %d belong", finals, want)
	case want == 1 && !last.Final:
		r.add("I6", a.String(), "goes on after its final part")
	case want == 1 && o != nil && last.Complete == o.Failed:
		r.add("I6", a.String(), "says that complete is %t", last.Complete)
	}
}

// named checks that the parts name what was cleaned, each once. What is lost
// was cleaned and is named by no event. What was erased since has no history.
func (r *Report) named(a *announcement, lost []CleanChange, l ledger) {
	left := map[string]bool{}
	for _, c := range a.changes {
		left[version(c.UserID, c.ListID, c.Version)] = true
	}
	for _, p := range a.parts {
		for _, t := range p.Lists {
			name := version(t.UserID, t.ListID, t.Version)
			if !left[name] && !l.erased[t.ListID] {
				r.add("I6", a.String(), "names %s, which it did not make, or named before", name)
			}
			delete(left, name)
		}
	}
	for _, c := range lost {
		r.add("I6", a.String(), "does not name %s", version(c.UserID, c.ListID, c.Version))
	}
}

func version(user string, list, version int64) string {
	return fmt.Sprintf("version %d of list %d of %s", version, list, user)
}
