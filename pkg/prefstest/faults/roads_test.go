package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// badness is a way in which a road can be a bad one.
type badness struct {
	name   string
	worsen func(testing.TB, *prefstest.Road)
	breaks bool // connections
	closed bool // no answer comes through
}

var passable = []badness{
	{name: "slow", worsen: func(tb testing.TB, r *prefstest.Road) { tb.Helper(); r.Delay(tb, 30) }},
	{name: "narrow", worsen: func(tb testing.TB, r *prefstest.Road) { tb.Helper(); r.Narrow(tb, 60) }},
	{name: "slow to tell of an end", worsen: func(tb testing.TB, r *prefstest.Road) { tb.Helper(); r.Linger(tb, 300); r.Cut(tb) }, breaks: true},
}

var closed = []badness{
	{name: "full of resets", worsen: func(tb testing.TB, r *prefstest.Road) { tb.Helper(); r.Reset(tb) }, breaks: true, closed: true},
	{name: "silent", worsen: func(tb testing.TB, r *prefstest.Road) { tb.Helper(); r.Swallow(tb) }, breaks: true, closed: true},
}

// roads are those between a pair of processes, PostgreSQL and Kafka.
type roads struct {
	stage                        *prefstest.Stage
	apiToDB, consumerToDB, kafka *prefstest.Road
	api, consumer                *prefstest.Service
	gone                         int
}

const listedByRoads = 40

func openRoads(t *testing.T) *roads {
	t.Helper()
	broker := kafkatest.InProcessBehind(t)
	r := &roads{kafka: prefstest.NewRoadAt(t, broker.Addrs()[0], broker.Node)}
	r.stage = prefstest.NewStage(t, broker)
	r.stage.Save(t, []string{"carol"}, accounts(listedByRoads)...)
	start := func(service func(testing.TB, *prefstest.Service) *prefstest.Service) (*prefstest.Road, *prefstest.Service) {
		road, through := prefstest.NewRoad(t, r.stage.DatabaseURL)
		r.stage.Env = []string{"PREFS_DATABASE_URL=" + through}
		return road, service(t, nil)
	}
	r.apiToDB, r.api = start(r.stage.API)
	r.consumerToDB, r.consumer = start(r.stage.Consumer)
	return r
}

func (r *roads) load(t *testing.T) *prefstest.Load {
	t.Helper()
	return unhurried(t, r.stage, r.api, listedByRoads)
}

func (r *roads) remove(t *testing.T) {
	t.Helper()
	r.stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", r.gone), account(r.gone), time.Now()))
	r.gone++
}

// settle: the deletions are carried out, and nothing else was.
func (r *roads) settle(t *testing.T) {
	t.Helper()
	require.Equal(t, r.gone, r.stage.Settle(t).Cleans)
	require.Equal(t, accounts(listedByRoads)[r.gone:], r.stage.Entities(t, "carol"))
	require.Empty(t, r.stage.Topic(t, prefstest.DeadLetters), "a road is no record's fault")
	require.Zero(t, r.api.Terminate(t))
	require.Zero(t, r.consumer.Terminate(t))
}

// TestBadRoadsDelayAndLoseNothing: between any two processes the road is slow,
// narrow, slow to tell that a connection has ended, full of resets, or silent,
// while users save and accounts are deleted. Users notice that of the API to
// PostgreSQL alone.
func TestBadRoadsDelayAndLoseNothing(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name   string
		road   func(*roads) *prefstest.Road
		blocks bool // saves wait for it
	}{
		{"api to PostgreSQL", func(r *roads) *prefstest.Road { return r.apiToDB }, true},
		{"consumer to PostgreSQL", func(r *roads) *prefstest.Road { return r.consumerToDB }, false},
		{"both to Kafka", func(r *roads) *prefstest.Road { return r.kafka }, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			r := openRoads(t)
			road := way.road(r)
			for _, bad := range slices.Concat(passable, closed) {
				began := time.Now()
				load := r.load(t)
				load.Flow(t, 6)
				load.Excuse(way.blocks && bad.breaks)
				r.remove(t)
				bad.worsen(t, road)
				if way.blocks && bad.closed {
					prefstest.Eventually(t, prefstest.Patience, bad.name+": the api says so", func() bool {
						return prefstest.Status(r.api.AdminURL+"/readyz") == http.StatusServiceUnavailable
					})
				} else {
					load.Flow(t, 10)
				}
				if road != r.kafka {
					r.remove(t)
				}
				road.Mend(t)
				load.Flow(t, 6)
				saves := load.Check(t)
				require.False(t, t.Failed(), bad.name)
				t.Logf("%s: %d saves in %s", bad.name, saves, time.Since(began).Round(time.Millisecond))
			}
			r.settle(t)
		})
	}
}

// TestABadRoadToTheOwnerRemovesNothing: a comparison with the account service
// fails where no answer comes through, and ends well on a slow or narrow road.
// What the owner has lost goes when it has said so twice.
func TestABadRoadToTheOwnerRemovesNothing(t *testing.T) {
	t.Parallel()
	owner := prefstest.NewOwner(t)
	road, through := prefstest.NewRoad(t, owner.URL)
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Env = append(owner.Env(), "PREFS_DIRECTORY_URL="+through+"/accounts")
	stage.Save(t, []string{"carol"}, accounts(listedByRoads)...)
	owner.Lose(account(0))
	compare := func(bad badness) preferences.Operation {
		require.Equal(t, accounts(listedByRoads), stage.Entities(t, "carol"), "before the road is %s", bad.name)
		consumer := stage.Consumer(t, nil) // another one each time: what it knows of the owner goes with it
		bad.worsen(t, road)
		o := stage.AwaitEnd(t, stage.Reconcile(t))
		road.Mend(t)
		require.Zero(t, consumer.Terminate(t))
		return o
	}
	for _, bad := range closed {
		o := compare(bad)
		require.Equal(t, preferences.Failed, o.State, bad.name)
		require.Contains(t, string(o.Report), "OWNER_UNAVAILABLE", bad.name)
	}
	for _, bad := range passable[:2] {
		o := compare(bad)
		require.Equal(t, preferences.Succeeded, o.State, "%s: %s", bad.name, o.Report)
	}
	consumer := stage.Consumer(t, nil)
	require.Equal(t, 1, stage.Settle(t).Cleans)
	require.Equal(t, accounts(listedByRoads)[1:], stage.Entities(t, "carol"))
	require.Zero(t, consumer.Terminate(t))
}

// TestAnAPIThatCannotReadTheIssuersKeysWaitsForThem: an api on whose road to the
// issuer no answer comes through gets ready when one does, and needs the issuer
// no more for the users who bear its keys.
func TestAnAPIThatCannotReadTheIssuersKeysWaitsForThem(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	set := stage.KeySet(t)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(set) // whoever asked may have left
	}))
	t.Cleanup(issuer.Close)
	road, through := prefstest.NewRoad(t, issuer.URL)
	stage.Env = []string{"PREFS_AUTH_DEV_KEY_FILE=", "PREFS_AUTH_JWKS_URL=" + through}
	for _, bad := range closed {
		bad.worsen(t, road)
		api := stage.Launch(t, "api")
		prefstest.Eventually(t, prefstest.Patience, bad.name+": an api that knows no keys is not ready", func() bool {
			return prefstest.Status(api.AdminURL+"/readyz") == http.StatusServiceUnavailable
		})
		road.Mend(t)
		api.AwaitReady(t, api.AdminURL+"/readyz")
		bad.worsen(t, road)
		load := unhurried(t, stage, api, listedByRoads)
		load.Flow(t, 10)
		load.Check(t)
		road.Mend(t)
		require.Zero(t, api.Terminate(t))
	}
	api := stage.API(t, nil)
	stage.Settle(t)
	require.Zero(t, api.Terminate(t))
}
