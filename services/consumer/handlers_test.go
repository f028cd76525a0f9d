package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func domain(name, entity, topic, field, deleted string) preferences.Domain {
	return preferences.Domain{Name: name, EntityType: entity, Events: preferences.DomainEvents{Topic: topic, IDField: field, Deleted: deleted}}
}

func domains(t *testing.T, all ...preferences.Domain) preferences.Domains {
	t.Helper()
	d, err := preferences.NewDomains(all)
	require.NoError(t, err)
	return d
}

func TestRoutes_OfTheDefaultDomains(t *testing.T) {
	t.Parallel()
	got, err := newRoutes(preferences.DefaultDomains(), "user.events")
	require.NoError(t, err)
	account := route{entityType: "account", idField: "accountId", described: true}
	user := route{entityType: "$user", idField: "userId", described: true}
	back := account
	back.fate = there
	require.Equal(t, routes{
		{"account.events", "account.deleted"}:  account,
		{"account.events", "account.created"}:  back,
		{"account.events", "account.restored"}: back,
		{"user.events", "user.deleted"}:        user,
		{"user.events", "user.created"}:        {fate: there, entityType: "$user", idField: "userId", described: true},
	}, got)
	require.Equal(t, "account.deleted", got.label("account.events", "account.deleted"))
	for _, other := range []source{{"account.events", "account.renamed"}, {"other.events", "account.deleted"}, {"account.events", ""}} {
		require.Equal(t, "other", got.label(other.topic, other.typ))
	}
}

func TestRoutes_MayBeShared(t *testing.T) {
	t.Parallel()
	got, err := newRoutes(domains(t,
		domain("accounts", "account", "account.events", "accountId", "account.deleted"),
		domain("favourites", "account", "account.events", "accountId", "account.deleted"),
		domain("tickets", "ticket", "account.events", "id", "ticket.closed"),
		preferences.Domain{Name: "silent", EntityType: "thing"},
	), "")
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.False(t, got[source{"account.events", "ticket.closed"}].described)
}

func TestRoutes_RefuseTwoMeaningsOfOneEvent(t *testing.T) {
	t.Parallel()
	first := domain("accounts", "account", "account.events", "accountId", "account.deleted")
	for name, second := range map[string]preferences.Domain{
		"other entity": domain("boats", "boat", "account.events", "accountId", "account.deleted"),
		"other field":  domain("boats", "account", "account.events", "boatId", "account.deleted"),
		"other fate": {Name: "boats", EntityType: "account", Events: preferences.DomainEvents{
			Topic: "account.events", IDField: "accountId", Deleted: "boat.deleted", Created: "account.deleted",
		}},
	} {
		_, err := newRoutes(domains(t, first, second), "")
		require.ErrorContains(t, err, "domain boats: events of type account.deleted on account.events", name)
	}
}

func TestEntity_ChecksWhatTheRouteNeeds(t *testing.T) {
	t.Parallel()
	described := route{entityType: "account", idField: "accountId", described: true}
	plain := route{entityType: "ticket", idField: "number"}
	now := time.Now()
	for name, tc := range map[string]struct {
		to   route
		e    events.Event
		want string // empty: refused
	}{
		"described":                  {described, events.Event{Type: "account.deleted", Time: now, Data: []byte(`{"accountId":"a","x":1}`)}, "a"},
		"described, id that is none": {described, events.Event{Type: "account.deleted", Time: now, Data: []byte(`{"accountId":"a b"}`)}, ""},
		"described, no data":         {described, events.Event{Type: "account.deleted", Time: now}, ""},
		"described, no time":         {described, events.Event{Type: "account.deleted", Data: []byte(`{"accountId":"a"}`)}, ""},
		"configured":                 {plain, events.Event{Type: "ticket.closed", Time: now, Data: []byte(`{"number":"T-1"}`)}, "T-1"},
		"configured, a number":       {plain, events.Event{Type: "ticket.closed", Time: now, Data: []byte(`{"number":1}`)}, ""},
		"configured, no data":        {plain, events.Event{Type: "ticket.closed", Time: now}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.to.entity(tc.e)
			if tc.want == "" {
				require.Equal(t, fault.Invalid, fault.CodeOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, preferences.Entity{Type: tc.to.entityType, ID: tc.want}, got)
		})
	}
}
