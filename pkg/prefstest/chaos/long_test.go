package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/devpg"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// world is everything that can fail, and who works in it.
type world struct {
	stage         *prefstest.Stage
	r             *rand.Rand
	server        *devpg.Server
	road          *prefstest.Road // from the binaries to the server
	broker        kafkatest.Mortal
	owner         *prefstest.Owner
	api, consumer *prefstest.Service
	operator      *operator
	events        int // of owners, so far
}

// newWorld starts everything.
func newWorld(t *testing.T, r *rand.Rand) *world {
	t.Helper()
	w := &world{r: r, server: pgtest.StartPrivate(t), owner: prefstest.NewOwner(t)}
	var ok bool
	w.broker, ok = kafkatest.InProcessMortal(t).(kafkatest.Mortal)
	require.True(t, ok)
	w.stage = prefstest.NewStageAt(t, w.server.URL(), w.broker)
	w.road, w.stage.DatabaseURL = prefstest.NewRoad(t, w.server.URL())
	w.stage.Env = w.owner.Env()
	w.startAPI(t)
	w.startConsumer(t)
	w.operator = newOperator(t, w.stage, w.api.URL)
	return w
}

// duration is how long a run by hand lasts; without one it is skipped.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("DURATION")
	if text == "" {
		t.Skip("for runs by hand: make chaos, make soak")
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "DURATION")
	return d
}

const (
	roundLasts = time.Minute
	calmBefore = 12 * time.Second // the end of a round: faults that have begun are healed, and the work ends
	longUsers  = 24
	longList   = 60 // accounts that are listed in a round; the next one has others
)

// TestRandomFaults has everything fail at random, one or two things at a time,
// while users save, accounts and users are deleted, operators clean and take
// that back, and lists are compared with their owner. Every minute all is healed,
// has to come to rest within 30 seconds, and is looked at.
func TestRandomFaults(t *testing.T) { //nolint:paralleltest // it is alone on the machine
	lasts := duration(t)
	n := seed(t)
	w := newWorld(t, rand.New(rand.NewPCG(n, 0)))
	report := newReport(t, "chaos", n)
	until := time.Now().Add(lasts)
	for number := 0; time.Now().Before(until) && !t.Failed(); number++ {
		w.round(t, number, report)
	}
	require.Zero(t, w.api.Terminate(t), "the api stops in order")
	require.Zero(t, w.consumer.Terminate(t), "the consumer stops in order")
}

// round is a minute of faults, and the look at what they have left.
func (w *world) round(t *testing.T, number int, report *report) {
	t.Helper()
	line := roundLine{Began: time.Now()}
	first := number * longList
	load := w.stage.StartLoad(t, w.api.URL, prefstest.LoadOptions{
		Writers: writers, Users: longUsers, Accounts: longList, First: first, Pause: 10 * time.Millisecond, Seed: w.r.Uint64(),
	})
	job := newJob(w, number, first)
	load.Flow(t, 20)
	for time.Since(line.Began) < roundLasts-calmBefore {
		for range 1 + w.r.IntN(4) {
			job.step(t)
		}
		w.suffer(t, load, report, &line, choose(w.r)...)
	}
	job.finish(t)
	load.Flow(t, 20)
	line.Saves = load.Check(t)
	healed := time.Now()
	seen := w.stage.Settle(t)
	line.Quiet = time.Since(healed)
	job.check(t)
	require.Empty(t, w.stage.Topic(t, prefstest.DeadLetters), "no fault is a record's")
	line.Lists, line.Changes, line.Events, line.Cleans = seen.Lists, seen.Changes, seen.Events, seen.Cleans
	report.add(line, job)
}

// suffer has faults begin, last, and end.
func (w *world) suffer(t *testing.T, load *prefstest.Load, report *report, line *roundLine, all ...fault) {
	t.Helper()
	load.Excuse(true)
	var names []string
	for _, f := range slices.Backward(all) { // a process that is told to stop can still do that in order
		names = append(names, f.kind)
		report.count(f.kind)
		f.begin(w, t)
	}
	line.Faults += len(all)
	lasting := time.Duration(w.r.Int64N(int64(longest)))
	t.Logf("%s %s for %s", time.Now().Format(time.TimeOnly), strings.Join(names, " and "), lasting.Round(time.Millisecond))
	wait(t, lasting)
	for _, f := range all {
		if f.heal != nil {
			f.heal(w, t)
		}
	}
	w.api.AwaitReady(t, w.api.AdminURL+"/readyz")
	w.consumer.AwaitReady(t, w.consumer.AdminURL+"/readyz")
	load.Flow(t, 10)
	load.Excuse(false)
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// job is what happens in a round besides saving.
type job struct {
	w                                *world
	first                            int   // of the round's accounts
	victims                          []int // accounts that are deleted, or cleaned by an operator, in this order
	guests                           []string
	gone                             []string // guests whose deletion was announced
	closed                           bool     // operators do no more in this round: their decisions stand
	deleted, cleans, undos, compared int
}

func newJob(w *world, number, first int) *job {
	const visiting = 4
	j := &job{w: w, first: first, victims: w.r.Perm(longList)[:longList/2]}
	for n := range visiting {
		j.guests = append(j.guests, fmt.Sprintf("guest-%d-%d", number, n))
	}
	return j
}

func (j *job) account() string {
	n := j.victims[0]
	j.victims = j.victims[1:]
	return account(j.first + n)
}

// step does one thing. What it announces or begins goes on while faults happen.
func (j *job) step(t *testing.T) {
	t.Helper()
	const acts = 4
	switch choice := j.w.r.IntN(8); {
	case choice < 3 && len(j.victims) > 0:
		gone := j.account()
		j.w.owner.Lose(gone)
		j.announce(t, prefstest.Deleted(j.id(), gone, time.Now()))
		j.deleted++
	case choice < 5 && !j.closed && j.cleans < acts && len(j.victims) > together:
		j.w.operator.act(t, j.w.r, j.account(), j.account())
		j.cleans++
	case choice == 5 && len(j.guests) > 0:
		guest := j.guests[0]
		j.guests, j.gone = j.guests[1:], append(j.gone, guest)
		j.w.stage.Save(t, []string{guest}, account(j.first), account(j.first+1))
		j.announce(t, prefstest.UserDeleted(j.id(), guest, time.Now()))
	case choice == 6 && j.cleans > 1:
		j.close(t)
		j.w.stage.Reconcile(t)
		j.compared++
	}
}

func (j *job) announce(t *testing.T, r *kgo.Record) {
	t.Helper()
	j.w.stage.Produce(t, r)
}

func (j *job) id() string {
	j.w.events++
	return fmt.Sprint("evt-", j.w.events)
}

// close ends what operators do. Only then the owner may be asked: it does not
// know of what they cleaned, and what it has is nobody's to clean.
func (j *job) close(t *testing.T) {
	t.Helper()
	if j.closed {
		return
	}
	j.closed = true
	j.w.operator.finish(t)
	for _, c := range j.w.operator.kept {
		j.w.owner.Lose(c.accounts...)
	}
	j.undos = len(j.w.operator.undone)
}

func (j *job) finish(t *testing.T) {
	t.Helper()
	j.close(t)
	for range 2 {
		j.w.stage.AwaitEnd(t, j.w.stage.Reconcile(t))
		j.compared++
	}
}

// check looks at what every user can see of it.
func (j *job) check(t *testing.T) {
	t.Helper()
	for _, guest := range j.gone {
		require.Empty(t, j.w.stage.Entities(t, guest), guest)
	}
	j.w.operator.check(t)
	j.w.operator.kept, j.w.operator.undone = nil, nil
}
