package preferences

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// MaxSyncVersions is how many versions a reader may be behind. Whoever missed
// more is better served by the whole list.
const MaxSyncVersions = 1000

// moment is a version of a list. Its time tells it from the version of the same
// number that a restored database makes.
type moment struct {
	version int64
	micros  int64
}

func momentOf(l List) moment {
	if l.Version == 0 {
		return moment{}
	}
	return moment{l.Version, l.UpdateTime.UnixMicro()}
}

// span is what a reader knows of a list: items as they were in some version
// between two. These are the same unless the list changed from page to page.
type span struct {
	list     int64
	from, to moment
}

func spanOf(l List) span { return span{l.ID, momentOf(l), momentOf(l)} }

// begun is the span of a reader who knows no more than the first version.
func (s span) begun() span { return span{s.list, s.from, s.from} }

// widened is the span of a reader who has seen the list as it is now, too. Pages
// of two different lists have no span; that of the first leads to a fresh start.
func (s span) widened(l List) span {
	now := momentOf(l)
	switch {
	case s.list != l.ID:
	case now.version < s.from.version: // a replica that is behind
		s.from = now
	case now.version > s.to.version:
		s.to = now
	}
	return s
}

// append writes a span, of one moment nearly always, in few bytes.
func (s span) append(b []byte) []byte {
	b = binary.AppendVarint(b, s.list)
	b = binary.AppendVarint(b, s.from.version)
	b = binary.AppendVarint(b, s.from.micros)
	if s.to == s.from {
		return b
	}
	b = binary.AppendVarint(b, s.to.version)
	return binary.AppendVarint(b, s.to.micros)
}

// readSpan is the opposite of append; false if there is no span in b.
func readSpan(b []byte) (span, bool) {
	var s span
	for _, into := range []*int64{&s.list, &s.from.version, &s.from.micros, &s.to.version, &s.to.micros} {
		if len(b) == 0 && into == &s.to.version {
			s.to = s.from
			break
		}
		n, size := binary.Varint(b)
		if size <= 0 {
			return span{}, false
		}
		*into, b = n, b[size:]
	}
	return s, len(b) == 0 && s.list >= 0 && s.from.version >= 0 && s.to.version >= s.from.version && (s.list > 0) == (s.from.version > 0)
}

// SyncToken stands for the list as it is, for later reads of what has changed.
func (l List) SyncToken() string { return spanOf(l).token(l.UserID, l.Domain) }

func (s span) token(userID, domain string) string {
	return seal(syncBound(userID, domain), s.append(make([]byte, 0, 32)))
}

// syncBound is what a sync token is good for.
func syncBound(userID, domain string) []byte {
	b := append(make([]byte, 0, 128), "s1|"...)
	return strconv.AppendQuote(append(strconv.AppendQuote(b, userID), '|'), domain)
}

// Gone is an item that its reader has to forget.
type Gone struct {
	ID                   uuid.UUID
	EntityID, EntityType string
}

// Sync is what has changed in a list.
type Sync struct {
	List    List   // the list now; without its items if nothing has changed
	Changed []Item // whose body differs from what the reader has, by order; perhaps more, if pages told of several versions
	Removed []Gone
}

// Sync returns what has changed in a list since its reader was given the token.
// A token that belongs to another user or domain, or that was altered, is
// Invalid; one of which the history does not tell any more is Expired.
func (s *Service) Sync(ctx context.Context, userID, domain, token string) (Sync, error) {
	head, err := s.Head(ctx, userID, domain)
	if err != nil {
		return Sync{}, err
	}
	content, sealed := unseal(syncBound(userID, domain), token)
	known, readable := readSpan(content)
	if !sealed || !readable {
		return Sync{}, fault.New(fault.Invalid, fault.ReasonInvalidSyncToken, "The sync token does not belong to this list. Read the list without syncToken.").
			Violating(fault.Violation{Field: "syncToken", Description: "must be the syncToken of an earlier answer about the same list"})
	}
	if known == spanOf(head) {
		return Sync{List: head, Changed: []Item{}, Removed: []Gone{}}, nil
	}
	l, changes, more, err := s.store.Since(ctx, userID, domain, HistorySince{Version: max(known.from.version, 1), Limit: MaxSyncVersions + 1})
	if err != nil {
		return Sync{}, err
	}
	if !more {
		if sync, ok, err := known.since(l, changes); ok || err != nil {
			return sync, err
		}
	}
	return Sync{}, fault.New(fault.Expired, fault.ReasonSyncTokenExpired, "What has changed since then is not known any more. Read the list without syncToken.")
}

// HistorySince is what Since reads of the history: versions from one on, oldest
// first, with the bounds of HistoryRange.
type HistorySince struct {
	Version int64
	Limit   int
}

// since compares what a reader knows with the list as it is. It is false if the
// changes do not lead there.
func (s span) since(l List, changes []Change) (Sync, bool, error) {
	if s.list == 0 { // there was nothing yet
		return Sync{List: l, Changed: some(l.Items), Removed: []Gone{}}, true, nil
	}
	if s.list != l.ID || l.Version < s.to.version || !s.reached(l, changes) {
		return Sync{}, false, nil
	}
	states, err := s.states(l, changes)
	if err != nil {
		return Sync{}, false, err
	}
	return s.against(l, states), true, nil
}

// reached says whether the history holds, without a gap, the versions from the
// span's beginning to the list's, and in it those that the reader knows.
func (s span) reached(l List, changes []Change) bool {
	if int64(len(changes)) < l.Version-s.from.version+1 {
		return false
	}
	for i, c := range changes {
		if c.ListID != l.ID || c.Version != s.from.version+int64(i) {
			return false
		}
	}
	at := func(m moment) bool { return changes[m.version-s.from.version].Time.UnixMicro() == m.micros }
	return at(s.from) && at(s.to)
}

// states goes back through the changes to those versions that the span covers,
// and returns them with the newest first.
func (s span) states(l List, changes []Change) ([][]Record, error) {
	var out [][]Record
	state := l.Records()
	for version := l.Version; ; version-- {
		if version <= s.to.version {
			out = append(out, state)
		}
		if version == s.from.version {
			return out, nil
		}
		at := version - s.from.version
		var d Delta
		if err := json.Unmarshal(changes[at].Delta, &d); err != nil {
			return nil, fmt.Errorf("delta of list %d version %d: %w", l.ID, version, err)
		}
		state = Replay(state, d.Back(), changes[at-1].Gaps)
	}
}

// against returns what a reader who has seen these states has to change to have
// the list as it is. An item that is new or has other attributes tells by its
// time; its place may change without.
func (s span) against(l List, states [][]Record) Sync {
	out := Sync{List: l, Changed: []Item{}, Removed: []Gone{}}
	orders := map[uuid.UUID]int{}
	for _, state := range states {
		for _, r := range state {
			if _, twice := orders[r.ID]; !twice && l.index(r.ID) < 0 {
				out.Removed = append(out.Removed, Gone{r.ID, r.EntityID, r.EntityType})
			}
			orders[r.ID] = r.Order
		}
	}
	from := time.UnixMicro(s.from.micros)
	// Where the list changed from page to page, any page may have missed an item.
	all := s.from != s.to
	for _, it := range l.Items {
		if all || it.UpdateTime.After(from) || orders[it.ID] != it.Order {
			out.Changed = append(out.Changed, it)
		}
	}
	return out
}
