package verify

import (
	"fmt"
	"time"
)

// told is the first half of I4, every version of a list has its event, and that
// of I6: what a clean made is named by one of its parts, and nothing else is.
func (r *Report) told(h History, kept time.Time) {
	named, oldest := map[int64]bool{}, int64(0)
	for _, t := range h.Told {
		named[t.Version] = true
		if t.Clean == (Clean{}) {
			r.Events++
		}
		// What is in quarantine stays while younger rows are pruned.
		if !t.Quarantined && (oldest == 0 || t.Version < oldest) {
			oldest = t.Version
		}
	}
	made := map[int64]Clean{}
	for _, c := range h.Changes {
		clean, cleaned := c.cleaned()
		if cleaned {
			made[c.Version] = clean
		}
		prunable := (oldest == 0 || c.Version <= oldest) && !unpruned(c.Time, kept)
		switch {
		case named[c.Version] || prunable:
		case cleaned:
			r.add("I6", clean.String(), "does not name %s", version(h, c.Version))
		default:
			r.add("I4", subject(h.List.ID), "has version %d without an event", c.Version)
		}
	}
	r.parted(h, made)
}

// parted looks at the parts of cleans that name the list. What was pruned from
// its history cannot be compared.
func (r *Report) parted(h History, made map[int64]Clean) {
	if len(h.Changes) == 0 {
		return
	}
	for _, t := range h.Told {
		if t.Clean == (Clean{}) || t.Version < h.Changes[0].Version {
			continue
		}
		if made[t.Version] != t.Clean {
			r.add("I6", t.Clean.String(), "names %s, which it did not make, or named before", version(h, t.Version))
		}
		delete(made, t.Version)
	}
}

// unpruned says whether the event of what was made then must still be there.
func unpruned(made, kept time.Time) bool { return !kept.IsZero() && !made.Before(kept) }

func version(h History, v int64) string {
	return fmt.Sprintf("version %d of list %d of %s", v, h.List.ID, h.List.UserID)
}
