package verify

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// orders is I1: 1..n, or rising numbers where gaps are shown; no entity twice.
func (r *Report) orders(l preferences.List) {
	seen := map[preferences.Entity]bool{}
	for i, it := range l.Items {
		if seen[it.Entity()] {
			r.add("I1", subject(l.ID), "holds %s twice", it.EntityID)
		}
		seen[it.Entity()] = true
		switch {
		case l.Gaps && it.Order != int(it.Position):
			r.add("I1", subject(l.ID), "shows %s as %d where %d is stored", it.EntityID, it.Order, it.Position)
		case !l.Gaps && it.Order != i+1:
			r.add("I1", subject(l.ID), "shows %s as %d where %d belongs", it.EntityID, it.Order, i+1)
		case i > 0 && it.Position <= l.Items[i-1].Position:
			r.add("I1", subject(l.ID), "stores %s and %s at one position", it.EntityID, l.Items[i-1].EntityID)
		}
	}
}

// versions is I3: the history holds every version from the oldest one kept to
// the current one, each once and later than the one before, and the list is as
// the last one says.
func (r *Report) versions(h History) {
	if h.List.Version == 0 {
		if len(h.Changes) > 0 || len(h.List.Items) > 0 {
			r.add("I3", subject(h.List.ID), "has content without a version")
		}
		return
	}
	if len(h.Changes) == 0 {
		r.add("I3", subject(h.List.ID), "has version %d and no history", h.List.Version)
		return
	}
	for i, c := range h.Changes {
		if want := h.Changes[0].Version + int64(i); c.Version != want {
			r.add("I3", subject(h.List.ID), "has version %d in its history where %d belongs", c.Version, want)
			return
		}
		if i > 0 && !c.Time.After(h.Changes[i-1].Time) {
			r.add("I3", subject(h.List.ID), "has version %d that is no later than the one before", c.Version)
		}
	}
	switch last := h.Changes[len(h.Changes)-1]; {
	case last.Version != h.List.Version:
		r.add("I3", subject(h.List.ID), "is at version %d, its history ends at %d", h.List.Version, last.Version)
	case !last.Time.Equal(h.List.UpdateTime):
		r.add("I3", subject(h.List.ID), "has another time than its version %d", last.Version)
	case last.Gaps != h.List.Gaps:
		r.add("I3", subject(h.List.ID), "shows gaps, or does not, against its version %d", last.Version)
	}
}

// replay is I8: backward from the stored list to the oldest version kept, and
// from there, or from empty, forward to the stored list.
func (r *Report) replay(h History) {
	if len(h.Changes) == 0 {
		return
	}
	now := h.List.Records()
	state := now
	for i := len(h.Changes) - 1; i >= 0; i-- {
		gaps := i > 0 && h.Changes[i-1].Gaps
		state = preferences.Replay(state, h.Changes[i].Delta.Back(), gaps)
	}
	if h.Changes[0].Version == 1 && len(state) != 0 {
		r.add("I8", subject(h.List.ID), "leads back to %d items before its first version", len(state))
		return
	}
	for _, c := range h.Changes {
		state = preferences.Replay(state, c.Delta, c.Gaps)
	}
	if problem := differ(now, state); problem != "" {
		r.add("I8", subject(h.List.ID), "replays to another list: %s", problem)
	}
}

// differ says how two lists differ, without their attributes' values.
func differ(a, b []preferences.Record) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%d items against %d", len(a), len(b))
	}
	for i := range a {
		switch {
		case a[i].ID != b[i].ID || a[i].EntityID != b[i].EntityID || a[i].EntityType != b[i].EntityType:
			return fmt.Sprintf("item %d is %s against %s", i, a[i].EntityID, b[i].EntityID)
		case a[i].Order != b[i].Order:
			return fmt.Sprintf("%s is %d against %d", a[i].EntityID, a[i].Order, b[i].Order)
		case !sameValue(a[i].Attributes, b[i].Attributes):
			return fmt.Sprintf("attributes of %s", a[i].EntityID)
		}
	}
	return ""
}

func sameValue(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	ax, errA := json.Marshal(x)
	by, errB := json.Marshal(y)
	return errA == nil && errB == nil && bytes.Equal(ax, by)
}

// balance is I11: what the history created less what it deleted is there.
func (r *Report) balance(h History) {
	if len(h.Changes) == 0 || h.Changes[0].Version != 1 {
		return // the beginning was pruned
	}
	n := 0
	for _, c := range h.Changes {
		n += len(c.Delta.Added) - len(c.Delta.Removed)
	}
	if n != len(h.List.Items) {
		r.add("I11", subject(h.List.ID), "holds %d items, its history leaves %d", len(h.List.Items), n)
	}
}

// tags are those that may not be given out again. Two items can only share one
// if they share their id, which is why the rest need not be remembered.
type tags struct {
	twins map[uuid.UUID]bool
	taken map[string]string // of the twins, by which item
	last  string            // of the list before: they come in the order of their ids
}

func newTags(twins []uuid.UUID) *tags {
	t := &tags{twins: map[uuid.UUID]bool{}, taken: map[string]string{}}
	for _, id := range twins {
		t.twins[id] = true
	}
	return t
}

// tags is I10: two lists never share a tag, nor do two items.
func (r *Report) tags(l preferences.List, t *tags) {
	if l.ETag() == t.last {
		r.add("I10", subject(l.ID), "shares its tag with another list")
	}
	t.last = l.ETag()
	here := map[string]bool{t.last: true}
	for _, it := range l.Items {
		name, tag := "item "+it.ID.String(), it.ETag()
		other, taken := t.taken[tag]
		switch {
		case taken:
			r.add("I10", name, "shares its tag with %s", other)
		case here[tag]:
			r.add("I10", name, "shares its tag within list %d", l.ID)
		case t.twins[it.ID]:
			t.taken[tag] = name
		}
		here[tag] = true
	}
}
