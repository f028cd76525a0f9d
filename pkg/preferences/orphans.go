package preferences

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Directory is the port to an owner of entities, which knows those that exist.
type Directory interface {
	// Missing returns those of the ids that the owner says it does not have. An
	// error says nothing about any of them.
	Missing(ctx context.Context, ids []string) ([]string, error)
}

// Bounds of what an owner is believed that contradicts us.
const (
	MissingShare = 0.05 // of what it was asked about; what Believable is told by default
	missingFew   = 20   // entities, whatever share that is
)

// Believable says whether an ordinary day explains that so many of the entities
// that an owner was asked about are missing there.
func Believable(missing, asked int64, share float64) bool {
	return missing <= max(missingFew, int64(share*float64(asked)))
}

// MaxOrphans is the most items that a page of orphans holds.
const MaxOrphans = 1000

const (
	orphansAsked    = 500             // entities, at a time
	orphansPatience = 5 * time.Second // after which a page ends where it is
)

// OrphanQuery asks for a page of the items of a domain whose entities are gone.
type OrphanQuery struct {
	Domain string
	Token  string // of the page before; empty: the first page
}

// Orphan is an item whose entity the owner does not have.
type Orphan struct {
	ID       uuid.UUID
	UserID   string
	EntityID string
}

// OrphanPage is a part of the orphans of a domain.
type OrphanPage struct {
	EntityType string
	Orphans    []Orphan
	Total      int64 // of this page and those before it; on the last page, of all
	Believable bool  // so far: what is missing is what an ordinary day may bring
	NextToken  string
}

// OrphanRange is what Orphans reads: items of missing entities, in the order of
// their entities and ids, behind one of them.
type OrphanRange struct {
	Domain, EntityType string
	Missing            []string
	Behind             Orphan // zero: from the beginning
	Limit              int    // at least 1
}

// orphansJSON is where a page ended, and what was found by then.
type orphansJSON struct {
	Entity  string    `json:"e"`
	Item    uuid.UUID `json:"i"` // Nil: all items of the entity were dealt with
	Asked   int64     `json:"a"`
	Missing int64     `json:"m"`
	Total   int64     `json:"t"`
}

// DetectOrphaned asks the owner about the entities of a domain, and returns the
// items of those that it says it does not have. It changes nothing. An owner
// that cannot be asked makes no orphans: the page fails.
func (s *Service) DetectOrphaned(ctx context.Context, q OrphanQuery) (OrphanPage, error) {
	d, err := s.domains.Find(q.Domain)
	if err != nil {
		return OrphanPage{}, err
	}
	w := orphanWalk{Service: s, domain: d, page: OrphanPage{EntityType: d.EntityType, Orphans: []Orphan{}}}
	if q.Token != "" && !openJSON(q.bound(), q.Token, &w.at) {
		return OrphanPage{}, badHistoryToken("must be the nextPageToken of a page with the same domain")
	}
	if w.owner = s.directories[d.EntityType]; w.owner == nil {
		return OrphanPage{}, nobodyToAsk()
	}
	more, err := w.walk(ctx)
	if err != nil {
		return OrphanPage{}, err
	}
	w.page.Total, w.page.Believable = w.at.Total, Believable(w.at.Missing, w.at.Asked, MissingShare)
	if more {
		w.page.NextToken = sealJSON(q.bound(), w.at)
	}
	return w.page, nil
}

func (q OrphanQuery) bound() []byte { return fmt.Appendf(nil, "d1|%q", q.Domain) }

// orphanWalk fills a page.
type orphanWalk struct {
	*Service

	domain Domain
	owner  Directory
	at     orphansJSON
	page   OrphanPage
}

// walk goes on until the page is full, or has taken long enough, and says
// whether there may be more behind it.
func (w *orphanWalk) walk(ctx context.Context) (more bool, err error) {
	until := w.now().Add(orphansPatience)
	if w.at.Item != uuid.Nil { // the page before ended among the items of an entity
		if full, err := w.take(ctx, []string{w.at.Entity}); err != nil || full {
			return full, err
		}
	}
	for len(w.page.Orphans) < MaxOrphans && w.now().Before(until) {
		ids, err := w.store.Entities(ctx, w.domain.EntityType, w.at.Entity, orphansAsked)
		if err != nil || len(ids) == 0 {
			return false, err
		}
		if full, err := w.take(ctx, ids); err != nil || full {
			return full, err
		}
	}
	return true, nil
}

// take asks about entities and puts the items of those that are missing on the
// page; full means that there was no room for all of them.
func (w *orphanWalk) take(ctx context.Context, ids []string) (full bool, err error) {
	missing, err := w.owner.Missing(ctx, ids)
	if err != nil {
		return false, ownerSilent(err)
	}
	r := OrphanRange{Domain: w.domain.Name, EntityType: w.domain.EntityType, Missing: missing, Limit: MaxOrphans - len(w.page.Orphans)}
	resumed := w.at.Item != uuid.Nil
	if resumed {
		r.Behind = Orphan{EntityID: w.at.Entity, ID: w.at.Item}
	}
	found, full, err := w.store.Orphans(ctx, r)
	if err != nil {
		return false, err
	}
	w.page.Orphans = append(w.page.Orphans, found...)
	w.at.Entity, w.at.Item = ids[len(ids)-1], uuid.Nil
	if full {
		end := found[len(found)-1]
		w.at.Entity, w.at.Item = end.EntityID, end.ID
	}
	w.at.Total += int64(len(found))
	if !resumed { // what is behind the end of the page is asked about, and counted, again
		w.at.Asked += upTo(ids, w.at.Entity)
		w.at.Missing += upTo(missing, w.at.Entity)
	}
	return full, nil
}

// upTo counts the ids that are not behind one.
func upTo(ids []string, last string) (n int64) {
	for _, id := range ids {
		if id <= last {
			n++
		}
	}
	return n
}

func ownerSilent(err error) error {
	if fault.CodeOf(err) != fault.Unavailable {
		return err
	}
	return fault.New(fault.Unavailable, fault.ReasonOwnerUnavailable,
		"The service that owns the entities cannot be asked, so nothing is known about orphans, and nothing may be cleaned because of it. Try again later.").Because(err)
}
