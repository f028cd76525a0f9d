package lin

import (
	"context"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
	"github.com/prefsd/prefsd/pkg/retry"
)

// profile is what happens besides the work.
type profile struct {
	name    string
	disturb func(d *deployment, t *testing.T, r *rand.Rand) // until the work is done
	murk    float64                                         // unknown outcomes that each trouble leaves behind, at least, on average
}

var profiles = []profile{
	{name: "plain", disturb: (*deployment).leave},
	{name: "cut", disturb: (*deployment).cut, murk: 0.2},
	{name: "terminated", disturb: (*deployment).terminate},
	{name: "restarted", disturb: (*deployment).restart, murk: 1},
}

// deployment is an api and a consumer, which reach the database over a wire.
type deployment struct {
	stage    *prefstest.Stage
	wire     *pgtest.Wire
	api      *prefstest.Service
	run      *run
	done     chan struct{} // closed when the work is
	troubles int
}

// application is the name of the connections over the wire.
const application = "wired"

// deploy starts an api and a consumer for so many operations.
func deploy(t *testing.T, enough int64, r *rand.Rand) *deployment {
	t.Helper()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Build = prefstest.Build{Tags: tags, Fast: true}
	stage.Env = append(environment(), "PREFS_LOG_LEVEL=warn", "PREFS_RATE_LIMIT=off")
	wire, through := pgtest.NewWire(t, stage.DatabaseURL)
	u, err := url.Parse(through)
	require.NoError(t, err)
	q := u.Query()
	q.Set("application_name", application)
	u.RawQuery = q.Encode()
	stage.DatabaseURL = u.String()
	d := &deployment{stage: stage, wire: wire, api: stage.API(t, nil), done: make(chan struct{})}
	stage.Consumer(t, nil)
	d.run = &run{stage: stage, url: d.api.URL, began: time.Now(), enough: enough}
	d.run.owner = newOwner(t, d.run)
	stutter(wire, r.Uint64())
	return d
}

// stutter holds up one message of four, most of them for a moment only.
func stutter(w *pgtest.Wire, seed uint64) {
	const few, longest = 4, 20 * time.Millisecond
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0))
	w.Stutter(func() (float64, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(few) > 0 {
			return 1, 0
		}
		part, long := r.Float64(), r.Float64()
		return part, time.Duration(long * long * float64(longest))
	})
}

// live has users work on lists, the owner delete and restore what they list,
// and the profile do its worst, and returns when all that is over and quiet.
func (d *deployment) live(t *testing.T, p profile, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	silent := make(chan struct{})
	g, ctx := errgroup.WithContext(t.Context())
	working, ctxWorking := errgroup.WithContext(ctx)
	users, owner := r.Uint64(), r.Uint64()
	working.Go(func() error { return d.run.work(ctxWorking, t, users) })
	working.Go(func() error { return d.run.owner.speak(ctxWorking, owner) })
	g.Go(func() error {
		defer close(d.done)
		defer close(silent)
		return working.Wait()
	})
	g.Go(func() error { return d.run.owner.listen(ctx, silent) })
	p.disturb(d, t, r)
	<-d.done
	require.NoError(t, g.Wait())
}

// leave disturbs nobody.
func (d *deployment) leave(*testing.T, *rand.Rand) { <-d.done }

// cut loses the answers to commits, or the commits.
func (d *deployment) cut(t *testing.T, r *rand.Rand) {
	t.Helper()
	const seldom = 40
	for d.goesOn(t.Context()) {
		d.wire.Cut(pgtest.Cut{Mark: pgtest.Committing, Skip: r.IntN(seldom), Before: r.IntN(2) == 0})
		for d.goesOn(t.Context()) && !d.wire.Fired() {
			_ = retry.Wait(t.Context(), time.Millisecond) // the end of the test is seen by goesOn
		}
		d.troubles++
	}
}

// terminate ends connections in the server, one at a time or all at once.
func (d *deployment) terminate(t *testing.T, r *rand.Rand) {
	t.Helper()
	const seldom, all = 20, 100
	for d.goesOn(t.Context()) {
		most := 1
		if r.IntN(seldom) == 0 {
			most = all
		}
		n, err := d.stage.Disconnect(t.Context(), application, most)
		require.NoError(t, err)
		d.troubles += n
		_ = retry.Wait(t.Context(), time.Duration(r.Int64N(int64(400*time.Millisecond)))) // as above
	}
}

// restart kills the api and starts it again, a number of times.
func (d *deployment) restart(t *testing.T, _ *rand.Rand) {
	t.Helper()
	const times = 12
	for n := int64(1); n <= times; n++ {
		for d.goesOn(t.Context()) && d.run.count.operations.Load() < d.run.enough*n/(times+1) {
			_ = retry.Wait(t.Context(), watching) // as above
		}
		if d.goesOn(t.Context()) {
			d.api.Kill()
			d.api = d.stage.API(t, d.api)
			d.troubles++
		}
	}
	<-d.done
}

// goesOn says whether there is work to disturb.
func (d *deployment) goesOn(ctx context.Context) bool {
	select {
	case <-d.done:
		return false
	case <-ctx.Done():
		return false
	default:
		return true
	}
}
