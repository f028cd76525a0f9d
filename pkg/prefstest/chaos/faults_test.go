package chaos

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// part is what a fault is about. No two faults at once are about the same one.
type part int

// Parts, in the order in which they are healed: processes need the others.
const (
	database part = iota
	road
	broker
	owner
	lease
	processes
)

// fault is something that happens to the system, until it is healed.
type fault struct {
	kind  string
	about part
	begin func(*world, *testing.T)
	heal  func(*world, *testing.T) // nil: it is over at once
}

// longest is how long a fault lasts at most: some outlast the leases of relay
// and runner, and none the patience of a caller.
const longest = 7 * time.Second

// faults are all that can happen.
var faults = []fault{
	{"api killed", processes, func(w *world, _ *testing.T) { w.api.Kill() }, (*world).startAPI},
	{"consumer killed", processes, func(w *world, _ *testing.T) { w.consumer.Kill() }, (*world).startConsumer},
	{"api restarted", processes, func(w *world, t *testing.T) { require.Zero(t, w.api.Terminate(t)) }, (*world).startAPI},
	{"consumer restarted", processes, func(w *world, t *testing.T) { require.Zero(t, w.consumer.Terminate(t)) }, (*world).startConsumer},
	{"api frozen", processes, func(w *world, t *testing.T) { w.api.Freeze(t) }, func(w *world, t *testing.T) { w.api.Thaw(t) }},
	{"consumer frozen", processes, func(w *world, t *testing.T) { w.consumer.Freeze(t) }, func(w *world, t *testing.T) { w.consumer.Thaw(t) }},
	{"PostgreSQL restarted", database, func(w *world, t *testing.T) { require.NoError(t, w.server.Stop()) }, (*world).startDatabase},
	{"PostgreSQL killed", database, func(w *world, t *testing.T) { require.NoError(t, w.server.Kill()) }, (*world).startDatabase},
	{"connections to PostgreSQL cut", road, func(w *world, t *testing.T) { w.road.Cut(t) }, nil},
	{"answers of PostgreSQL late", road, func(w *world, t *testing.T) { w.road.Delay(t, 40) }, (*world).mendRoad},
	{"answers of PostgreSQL swallowed", road, func(w *world, t *testing.T) { w.road.Swallow(t) }, (*world).mendRoad},
	{"broker away", broker, func(w *world, _ *testing.T) { w.broker.Kill() }, func(w *world, t *testing.T) { w.broker.Revive(t) }},
	{"broker says no and has written", broker, (*world).lie, nil},
	{"lease of the relay taken", lease, func(w *world, t *testing.T) { w.stage.FreeRelay(t) }, nil},
	{"owner fails", owner, behave(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", http.StatusInternalServerError) }), (*world).healOwner},
	{"owner is silent", owner, behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), (*world).healOwner},
	{"owner knows nobody", owner, behave(func(rw http.ResponseWriter, r *http.Request) {
		(&prefstest.Owner{}).Disown(rw, r)
	}), (*world).healOwner},
}

func behave(mood http.HandlerFunc) func(*world, *testing.T) {
	return func(w *world, _ *testing.T) { w.owner.Behave(mood) }
}

func (w *world) startAPI(t *testing.T) {
	t.Helper()
	w.api = w.stage.API(t, w.api)
}

func (w *world) startConsumer(t *testing.T) {
	t.Helper()
	w.consumer = w.stage.Consumer(t, w.consumer)
}

func (w *world) startDatabase(t *testing.T) {
	t.Helper()
	require.NoError(t, w.server.Start(t.Context()))
}

func (w *world) mendRoad(t *testing.T) {
	t.Helper()
	w.road.Mend(t)
}

func (w *world) healOwner(*testing.T) { w.owner.Behave(nil) }

// lie has the broker write what it is sent next, and say that it did not.
func (w *world) lie(t *testing.T) {
	t.Helper()
	const lies = 3
	f, ok := w.broker.(kafkatest.Faulty)
	require.True(t, ok)
	for _, topic := range []string{prefstest.Updates, prefstest.Cleaned} {
		f.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicasAfterAppend, Count: lies})
	}
}

// choose picks one fault, or two about different parts.
func choose(r *rand.Rand) []fault {
	one := faults[r.IntN(len(faults))]
	other := faults[r.IntN(len(faults))]
	if r.IntN(3) > 0 || other.about == one.about {
		return []fault{one}
	}
	if other.about < one.about {
		one, other = other, one
	}
	return []fault{one, other} // healed in this order
}
