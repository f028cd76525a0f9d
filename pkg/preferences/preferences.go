// Package preferences is the domain: users' ordered lists of things that other
// services own, and the rules by which they change. It is pure but for its two
// ports, Store and the clock; it knows no HTTP, no Kafka and no database.
package preferences

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/prefsd/prefsd/pkg/mutant"
)

// NewID makes the id of an item, an event or an operation: a UUIDv7, so that
// indexes grow at one end.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// Entity names a thing that another service owns and that users arrange.
type Entity struct{ Type, ID string }

// UserType is the reserved entity type of our own users in entity states. No
// request may name it.
const UserType = "$user"

// Item is one preference as its reader sees it.
type Item struct {
	ID                     uuid.UUID // UUIDv7
	EntityType, EntityID   string
	Order                  int             // 1..n; or Position while the list shows gaps
	Attributes             json.RawMessage // an object, in the spelling of jsonb
	Version                int32           // grows when the row is rewritten visibly
	CreateTime, UpdateTime time.Time       // UTC, microseconds
	Position               int32           // the stored sort key, > 0; holes are allowed
}

// Entity returns what the item refers to.
func (i Item) Entity() Entity { return Entity{i.EntityType, i.EntityID} }

// ETag is the item's strong entity tag, without quotes. It covers the order,
// so a neighbour's removal changes it. The prefix names the JSON shape.
func (i Item) ETag() string {
	return tag("p1|"+i.ID.String(), int64(i.Version), int64(i.Order), i.UpdateTime.UnixMicro())
}

// List is one user's list in one domain. ID and Version are 0 until its first
// write.
type List struct {
	ID             int64
	UserID, Domain string
	Version        int64 // +1 for every visible change
	Gaps           bool  // readers see positions, not ranks, until the next change of shape
	UpdateTime     time.Time
	Items          []Item // by order
	Rest           Rest   // what stands round an item that was read alone
}

// Rest sums up the items of a list that were not read. Bytes, of their
// attributes, is 0 where there are so few of them that the list cannot be too
// large.
type Rest struct{ Items, Bytes int }

// Total is how many items the list has.
func (l List) Total() int { return len(l.Items) + l.Rest.Items }

// ETag is the list's strong entity tag, without quotes, shared by all its
// views. It names the user, so that a browser cache that two users share can
// never revalidate one's list with the other's tag. The time keeps tags from
// repeating after a restore of the database.
func (l List) ETag() string {
	of := "l1|" + l.UserID + "|" + l.Domain
	if mutant.Is("tag-without-user") {
		of = "l1||" + l.Domain
	}
	if l.Version == 0 {
		return tag(of, 0, 0, 0)
	}
	if mutant.Is("tag-without-time") {
		return tag(of, l.ID, l.Version, 0)
	}
	return tag(of, l.ID, l.Version, l.UpdateTime.UnixMicro())
}

// Wanted is the list as it is, to be edited by a writer.
func (l List) Wanted() []Wanted {
	out := make([]Wanted, len(l.Items))
	for i, it := range l.Items {
		out[i] = Wanted{EntityType: it.EntityType, EntityID: it.EntityID}
	}
	return out
}

// Number sorts the items by position and gives them the orders that readers
// see: ranks, or the positions themselves while the list shows gaps.
func (l *List) Number() {
	slices.SortFunc(l.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), slices.Compare(a.ID[:], b.ID[:]))
	})
	for i := range l.Items {
		l.Items[i].Order = i + 1
		if l.Gaps {
			l.Items[i].Order = int(l.Items[i].Position)
		}
	}
}

// Item returns the item with that id; the zero value if there is none.
func (l List) Item(id uuid.UUID) Item { return l.find(func(it Item) bool { return it.ID == id }) }

// Of returns the item of an entity; the zero value if there is none.
func (l List) Of(entityID string) Item {
	return l.find(func(it Item) bool { return it.EntityID == entityID })
}

func (l List) find(is func(Item) bool) Item {
	if at := slices.IndexFunc(l.Items, is); at >= 0 {
		return l.Items[at]
	}
	return Item{}
}

// index returns where the item with that id stands, or -1.
func (l List) index(id uuid.UUID) int {
	return slices.IndexFunc(l.Items, func(it Item) bool { return it.ID == id })
}

// Wanted is one item of the list that a writer wants; the slice it stands in
// gives the order.
type Wanted struct {
	EntityType, EntityID string
	Attributes           json.RawMessage // in the spelling of jsonb; nil keeps what is stored
}

// Entity returns what the wanted item refers to.
func (w Wanted) Entity() Entity { return Entity{w.EntityType, w.EntityID} }

// tagBytes of the hash are 16 characters, the length of the seed's tags.
const tagBytes = 12

// tag hashes what it is of and numbers, joined by bars. A list has a tag for
// each of its items, so it is spelled without fmt.
func tag(of string, numbers ...int64) string {
	text := make([]byte, 0, 128)
	text = append(text, of...)
	for _, n := range numbers {
		text = strconv.AppendInt(append(text, '|'), n, 10)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:tagBytes])
}
