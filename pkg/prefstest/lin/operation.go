package lin

import (
	"fmt"
	"strings"
)

// Kind says what an operation does.
type Kind string

// What users send, and what the owner of the entities brings about.
const (
	Get     Kind = "get"
	Replace Kind = "replace"
	Create  Kind = "create"
	Patch   Kind = "patch" // attributes, or a move
	Delete  Kind = "delete"

	Stated Kind = "stated" // the owner says that an entity is deleted, or there
	Swept  Kind = "swept"  // a deletion takes the entity out of the list
	Spared Kind = "spared" // a deletion ends, and the entity is not in the list

	over Kind = "over" // all that was answered has happened
)

// Item is one entry of the list.
type Item struct {
	ID     string `json:"id,omitempty"`
	Entity string `json:"entity"`
	Order  int    `json:"order,omitempty"`
	Mark   int    `json:"mark,omitempty"` // stands for the attributes: 0 for none, in a request for those that are stored
}

// Request is what an operation asks for.
type Request struct {
	Kind    Kind   `json:"kind"`
	Items   []Item `json:"items,omitempty"`   // of a replacement; the one to create
	Item    string `json:"item,omitempty"`    // id of the one to patch or delete
	Order   int    `json:"order,omitempty"`   // of the one to create or move; 0: it names none
	Mark    int    `json:"mark,omitempty"`    // of the one to patch; 0: it stays
	If      *int64 `json:"if,omitempty"`      // the version whose tag a precondition names; of an item its tag in that version
	Entity  string `json:"entity,omitempty"`  // that the owner speaks of
	Nth     int    `json:"nth,omitempty"`     // which of the owner's statements about the entity: odd ones delete it
	Version int64  `json:"version,omitempty"` // that a sweep has made
}

// Answer is what came of it.
type Answer struct {
	Unknown bool     `json:"unknown,omitempty"` // nobody knows whether it happened
	Status  int      `json:"status,omitempty"`
	Code    string   `json:"code,omitempty"`    // of an error
	Version int64    `json:"version,omitempty"` // of the list, where the answer shows it
	Tag     string   `json:"tag,omitempty"`     // of the list
	Items   []Item   `json:"items,omitempty"`   // the list, or the one that was written
	Skipped []string `json:"skipped,omitempty"` // entities that a replacement left out
}

// Operation is a request with its answer and the time between them, in
// nanoseconds of one clock. Who has an unknown answer goes on as another client.
type Operation struct {
	Client int   `json:"client"`
	Call   int64 `json:"call"`
	Return int64 `json:"return,omitempty"` // 0: unknown, it may happen whenever

	Request Request `json:"request"`
	Answer  Answer  `json:"answer"`
}

// Event is what the topics tell of a version.
type Event struct {
	Action  string   `json:"action"`
	Created []string `json:"created,omitempty"` // entities, sorted
	Updated []string `json:"updated,omitempty"`
	Deleted []string `json:"deleted,omitempty"`
	Total   int      `json:"total,omitempty"`
	Tag     string   `json:"tag,omitempty"`   // empty where the event names none
	Cause   string   `json:"cause,omitempty"` // event of the owner that a clean goes back to
}

func (r Request) String() string {
	var b strings.Builder
	_, _ = b.WriteString(string(r.Kind)) // a builder never fails
	for _, it := range r.Items {
		fmt.Fprintf(&b, " %s", it)
	}
	for name, value := range r.parts {
		fmt.Fprintf(&b, " %s=%v", name, value)
	}
	if r.If != nil {
		fmt.Fprintf(&b, " if=%d", *r.If)
	}
	return b.String()
}

// parts are what a request has besides its items, if it has it.
func (r Request) parts(yield func(string, any) bool) {
	_ = (r.Item == "" || yield("item", tail(r.Item))) &&
		(r.Order == 0 || yield("order", r.Order)) &&
		(r.Mark == 0 || yield("mark", r.Mark)) &&
		(r.Entity == "" || yield("entity", r.Entity)) &&
		(r.Nth == 0 || yield("nth", r.Nth)) &&
		(r.Version == 0 || yield("version", r.Version))
}

func (a Answer) String() string {
	switch {
	case a.Unknown:
		return "unknown"
	case a.Status == 0:
		return "done"
	case a.Code != "":
		return a.Code
	}
	out := fmt.Sprintf("%d", a.Status)
	if a.Tag != "" {
		out += fmt.Sprintf(" version %d:", a.Version)
	}
	for _, it := range a.Items {
		out += " " + it.String()
	}
	if len(a.Skipped) > 0 {
		out += " without " + strings.Join(a.Skipped, ", ")
	}
	return out
}

// String is an entity with its mark and the end of its id.
func (i Item) String() string {
	out := i.Entity
	if i.Mark != 0 {
		out += fmt.Sprintf("*%d", i.Mark)
	}
	if i.ID != "" {
		out += "#" + tail(i.ID)
	}
	return out
}

// tail is enough of an id to tell it from others.
func tail(id string) string {
	const enough = 4
	return id[max(0, len(id)-enough):]
}
