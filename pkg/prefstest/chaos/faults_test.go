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
	{"api killed", processes, (*world).killAPI, (*world).startAPI},
	{"consumer killed", processes, (*world).killConsumer, (*world).startConsumer},
	{"api restarted", processes, (*world).stopAPI, (*world).startAPI},
	{"consumer restarted", processes, (*world).stopConsumer, (*world).startConsumer},
	{"api frozen", processes, (*world).freezeAPI, (*world).thawAPI},
	{"consumer frozen", processes, (*world).freezeConsumer, (*world).thawConsumer},
	{"PostgreSQL restarted", database, (*world).stopDatabase, (*world).startDatabase},
	{"PostgreSQL killed", database, (*world).killDatabase, (*world).startDatabase},
	{"connections to PostgreSQL cut", road, (*world).cutRoad, nil},
	{"answers of PostgreSQL late", road, (*world).delay, (*world).mendRoad},
	{"answers of PostgreSQL swallowed", road, (*world).swallow, (*world).mendRoad},
	{"broker away", broker, (*world).killBroker, (*world).reviveBroker},
	{"broker says no and has written", broker, (*world).lie, nil},
	{"lease of the relay taken", lease, (*world).takeLease, nil},
	{"owner fails", owner, (*world).failOwner, (*world).healOwner},
	{"owner is silent", owner, (*world).silenceOwner, (*world).healOwner},
	{"owner knows nobody", owner, (*world).emptyOwner, (*world).healOwner},
}

func (w *world) killAPI(*testing.T) { w.api.Kill() }

func (w *world) killConsumer(*testing.T) { w.consumer.Kill() }

func (w *world) stopAPI(t *testing.T) {
	t.Helper()
	require.Zero(t, w.api.Terminate(t))
}

func (w *world) stopConsumer(t *testing.T) {
	t.Helper()
	require.Zero(t, w.consumer.Terminate(t))
}

func (w *world) freezeAPI(t *testing.T) {
	t.Helper()
	w.api.Freeze(t)
}

func (w *world) thawAPI(t *testing.T) {
	t.Helper()
	w.api.Thaw(t)
}

func (w *world) freezeConsumer(t *testing.T) {
	t.Helper()
	w.consumer.Freeze(t)
}

func (w *world) thawConsumer(t *testing.T) {
	t.Helper()
	w.consumer.Thaw(t)
}

func (w *world) stopDatabase(t *testing.T) {
	t.Helper()
	require.NoError(t, w.server.Stop())
}

func (w *world) killDatabase(t *testing.T) {
	t.Helper()
	require.NoError(t, w.server.Kill())
}

func (w *world) cutRoad(t *testing.T) {
	t.Helper()
	w.road.Cut(t)
}

func (w *world) delay(t *testing.T) {
	t.Helper()
	const ms = 40
	w.road.Delay(t, ms)
}

func (w *world) swallow(t *testing.T) {
	t.Helper()
	w.road.Swallow(t)
}

func (w *world) killBroker(*testing.T) { w.broker.Kill() }

func (w *world) reviveBroker(t *testing.T) {
	t.Helper()
	w.broker.Revive(t)
}

func (w *world) takeLease(t *testing.T) {
	t.Helper()
	w.stage.FreeRelay(t)
}

func (w *world) failOwner(*testing.T) {
	w.owner.Behave(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", http.StatusInternalServerError) })
}

func (w *world) silenceOwner(*testing.T) {
	w.owner.Behave(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

func (w *world) emptyOwner(*testing.T) {
	w.owner.Behave(func(rw http.ResponseWriter, r *http.Request) { (&prefstest.Owner{}).Disown(rw, r) })
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
