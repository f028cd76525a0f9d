package consumer

import (
	"context"
	"fmt"
	"slices"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// fate is what an event says of an entity.
type fate int

const (
	gone  fate = iota // deleted
	there             // created or restored: it may be listed
)

// route says what an event of one type on one topic means here.
type route struct {
	fate       fate
	entityType string // preferences.UserType: a user of ours
	idField    string
	described  bool // its data has a schema in the contract
}

type source struct {
	topic string
	typ   events.Type
}

// routes is the whole table of what is consumed, made from the domains.
type routes map[source]route

// described is the owner's events that the contract has schemas for.
var described = preferences.DefaultDomains().All()[0].Events

// users tells of our own users, whatever the domains are.
var users = []struct {
	typ  events.Type
	fate fate
}{{events.UserDeleted, gone}, {events.UserCreated, there}}

func newRoutes(domains preferences.Domains, userEvents string) (routes, error) {
	out := routes{}
	if userEvents != "" { // somebody tells of users
		for _, u := range users {
			out[source{userEvents, u.typ}] = route{fate: u.fate, entityType: preferences.UserType, idField: "userId", described: true}
		}
	}
	for _, d := range domains.All() {
		e := d.Events
		for typ, f := range map[string]fate{e.Deleted: gone, e.Created: there, e.Restored: there} {
			if typ == "" {
				continue
			}
			at := source{e.Topic, events.Type(typ)}
			to := route{
				fate: f, entityType: d.EntityType, idField: e.IDField,
				described: e.IDField == described.IDField && events.HasSchema(at.typ, events.SchemaVersion),
			}
			if other, taken := out[at]; taken && other != to {
				return nil, fmt.Errorf("domain %s: events of type %s on %s have another meaning already", d.Name, typ, e.Topic)
			}
			out[at] = to
		}
	}
	return out, nil
}

// Topics are those that events are consumed from, sorted.
func (c *Consumer) Topics() []string {
	var topics []string
	for from := range c.routes {
		topics = append(topics, from.topic)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// otherType is the label of every event that no route is for: a label must not
// be a stranger's text.
const otherType = "other"

func (r routes) label(topic string, t events.Type) string {
	if _, known := r[source{topic, t}]; known {
		return string(t)
	}
	return otherType
}

// handle is the whole way from an event to a use case.
func (c *Consumer) handle(ctx context.Context, r events.Record, e events.Event) (Outcome, error) {
	to, known := c.routes[source{r.Topic, e.Type}]
	if !known {
		return Skipped, nil
	}
	entity, err := to.entity(e)
	if err != nil {
		return Retried, err
	}
	fresh, err := c.apply(ctx, to.fate, c.delivery(r, e), entity, e)
	switch {
	case err != nil:
		return Retried, fmt.Errorf("%s: %w", e.Type, err)
	case fresh:
		return Applied, nil
	default:
		return Duplicate, nil
	}
}

func (c *Consumer) apply(ctx context.Context, f fate, d preferences.Delivery, entity preferences.Entity, e events.Event) (fresh bool, err error) {
	switch {
	case f == there:
		return c.Preferences.EntityRestored(ctx, d, entity, e.Time)
	case entity.Type == preferences.UserType:
		return c.Preferences.UserDeleted(ctx, d, entity.ID, e.Time)
	}
	fresh, open, err := c.Preferences.EntityDeleted(ctx, d, entity, e.Time)
	if open {
		c.Sweep()
	}
	return fresh, err
}

// entity returns what the event is about, having checked all that it must say.
func (to route) entity(e events.Event) (preferences.Entity, error) {
	if e.Time.IsZero() {
		return preferences.Entity{}, fault.New(fault.Invalid, events.ReasonInvalidEvent, "The event has no timestamp in RFC 3339.")
	}
	if to.described {
		if err := events.ValidateData(e.Type, events.SchemaVersion, e.Data); err != nil {
			return preferences.Entity{}, err
		}
	}
	id, err := e.Field(to.idField)
	return preferences.Entity{Type: to.entityType, ID: id}, err
}
