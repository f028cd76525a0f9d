package postgres

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// listCache keeps the lists that this process has read or written last, whole,
// so that rows which did not change are not read again. It decides nothing: a
// reader asks the server whether the version and the time of a copy are still
// those of the list, and a writer's guard refuses a version that was replaced.
// Copies may therefore be as old as they like. They are shared: nobody changes
// the items of a list that came from the store.
type listCache struct {
	mu    sync.Mutex
	users *simplelru.LRU[string, *copies] // nil: nothing is kept
	room  int                             // bytes
	used  int                             // of these, about
	found map[string]int64                // what copies were good for
}

// What a copy was good for: it was what the server has, it was not any more, or
// there was none.
const (
	copyCurrent = "current"
	copyStale   = "stale"
	copyAbsent  = "absent"
)

// copies are those of one user's lists, the one kept last in front.
type copies struct {
	lists []preferences.List
	bytes int
	used  time.Time
}

const (
	maxCopies  = 4   // of one user
	leastLists = 8   // that there is room for, however large they are
	itemBytes  = 144 // of an item without its texts
	textBytes  = 64  // that the allocations of an item's texts waste
	listBytes  = 400 // that a list takes besides its items
)

// newListCache keeps lists in so many bytes; none in 0.
func newListCache(bytes int) *listCache {
	c := &listCache{room: bytes, found: map[string]int64{copyCurrent: 0, copyStale: 0, copyAbsent: 0}}
	if bytes > 0 {
		// It fails for sizes below 1 alone.
		c.users, _ = simplelru.NewLRU(1+bytes/listBytes, func(_ string, old *copies) { c.used -= old.bytes })
	}
	return c
}

// find returns the copy of the list that a key names; its ID is 0 if there is none.
func (c *listCache) find(key preferences.Key) preferences.List {
	if c.users == nil {
		return preferences.List{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, found := c.users.Get(key.UserID)
	if !found {
		return preferences.List{}
	}
	kept.used = time.Now()
	for _, l := range kept.lists {
		if key.Item == uuid.Nil && l.Domain == key.Domain || key.Item != uuid.Nil && l.Item(key.Item).ID == key.Item {
			return l
		}
	}
	return preferences.List{}
}

// keep takes a list that was read or written, in the place of any other copy of
// it. One that was read in part has no use here, and one that is very large would
// drive out too many others. One that is not there has been erased, if there is a
// copy of it, and all of its user's with it.
func (c *listCache) keep(l preferences.List) {
	if c.users == nil || l.Rest.Items > 0 {
		return
	}
	if l.Version == 0 {
		c.drop(c.find(preferences.Key{UserID: l.UserID, Domain: l.Domain}))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, found := c.users.Peek(l.UserID)
	if found && slices.ContainsFunc(old.lists, func(o preferences.List) bool { return sameVersion(o, l) }) {
		return
	}
	kept := &copies{used: time.Now()}
	if bytesUsed(l) <= c.room/leastLists {
		l.UserID = strings.Clone(l.UserID) // it may be part of a request
		kept.add(l)
	}
	if found {
		for _, other := range old.lists {
			if other.Domain != l.Domain && len(kept.lists) < maxCopies {
				kept.add(other)
			}
		}
		c.users.Remove(l.UserID)
	}
	if len(kept.lists) == 0 {
		return
	}
	c.users.Add(kept.lists[0].UserID, kept)
	for c.used += kept.bytes; c.used > c.room; {
		c.users.RemoveOldest()
	}
}

// drop forgets a copy that proved wrong, and all others of its user.
func (c *listCache) drop(known preferences.List) {
	if c.users == nil || known.ID == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users.Remove(known.UserID)
}

func (c *copies) add(l preferences.List) {
	c.lists, c.bytes = append(c.lists, l), c.bytes+bytesUsed(l)
}

// sameVersion says whether two lists are one, as of one moment. A restore of the
// database makes versions anew, at other times.
func sameVersion(a, b preferences.List) bool {
	return a.ID == b.ID && a.Version == b.Version && a.UpdateTime.Equal(b.UpdateTime)
}

// bytesUsed is about what a list takes, with the room that it was given and
// does not use.
func bytesUsed(l preferences.List) int {
	n := listBytes + len(l.UserID) + len(l.Domain) + cap(l.Items)*itemBytes
	for _, it := range l.Items {
		n += textBytes + len(it.EntityType) + len(it.EntityID) + cap(it.Attributes)
	}
	return n
}

// count notes what a copy was good for; none has the ID 0.
func (c *listCache) count(known preferences.List, current bool) {
	if c.users == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case known.ID == 0:
		c.found[copyAbsent]++
	case current:
		c.found[copyCurrent]++
	default:
		c.found[copyStale]++
	}
}

// CacheStats say how much memory lists take, about, and how many of those that
// were looked for there were current, stale and absent, since the store was opened.
func (s *Store) CacheStats() (bytes int, found map[string]int64) {
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	return s.lists.used, maps.Clone(s.lists.found)
}

// ForgetLists drops the copies of users of whom nothing was asked for so long.
// What was erased is in nobody's memory then.
func (s *Store) ForgetLists(unused time.Duration) {
	if s.lists.users == nil {
		return
	}
	s.lists.mu.Lock()
	defer s.lists.mu.Unlock()
	for {
		_, oldest, found := s.lists.users.GetOldest()
		if !found || time.Since(oldest.used) < unused {
			return
		}
		s.lists.users.RemoveOldest()
	}
}
