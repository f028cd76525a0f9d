// Package chaos kills processes while users save and accounts are deleted, and
// checks every promise afterwards.
package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
	"github.com/prefsd/prefsd/pkg/verify"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

const (
	writers   = 4
	saves     = 250 // of each writer that are acknowledged
	users     = 24  // in all
	accounts  = 60
	deletions = 20
)

// seed repeats a run: SEED=n go test.
func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("SEED=%d repeats the choices of this run", n)
	return n
}

func account(n int) string { return fmt.Sprintf("acc-%03d", n) }

// acknowledged is a save whose answer came: its version must be in the history.
type acknowledged struct {
	user    string
	version int64
	etag    string
}

func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 0))
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)

	var answered atomic.Int64
	var down atomic.Bool // from the kill of the api until the next one is ready
	done := make(chan struct{})
	var wg sync.WaitGroup
	acks := make([][]acknowledged, writers)
	for w := range writers {
		choose := rand.New(rand.NewPCG(r.Uint64(), uint64(w)))
		wg.Go(func() { acks[w] = write(t, stage, api.URL, w, choose, &answered, &down) })
	}
	go func() { wg.Wait(); close(done) }()

	kills := disturb(t, stage, r, &api, &consumer, &answered, &down, done)
	<-done
	require.False(t, t.Failed())

	report := stage.Settle(t)
	require.GreaterOrEqual(t, report.Changes, writers*saves, "the history holds every save that changed something")
	require.Positive(t, report.Lists)
	require.Equal(t, deletions, report.Cleans, "every deletion was announced")
	require.GreaterOrEqual(t, kills, 6)
	keepsEveryAcknowledged(t, stage, acks)
	require.Zero(t, api.Terminate(t), "the api stops in order")
	require.Zero(t, consumer.Terminate(t), "the consumer stops in order")
	t.Logf("%d kills, %d lists, %d versions, %d events, %d cleans", kills, report.Lists, report.Changes, report.Events, report.Cleans)
}

// write saves random orders until enough of them are acknowledged.
func write(t *testing.T, stage *prefstest.Stage, url string, w int, r *rand.Rand, answered *atomic.Int64, down *atomic.Bool) (acks []acknowledged) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	callers := map[string]*prefstest.Caller{}
	for len(acks) < saves {
		user := fmt.Sprintf("user-%d", w+writers*r.IntN(users/writers))
		c := callers[user]
		if c == nil {
			c = prefstest.NewCaller(url, stage.Token(t, user))
			defer c.Close()
			callers[user] = c
		}
		order := make([]string, 0, 12)
		for _, n := range r.Perm(accounts)[:4+r.IntN(8)] {
			order = append(order, account(n))
		}
		excused := down.Load()
		answer, err := c.Do(ctx, http.MethodPut, "/preferences:batchReplace", prefstest.Order(order...))
		if ctx.Err() != nil {
			t.Errorf("writer %d has %d of %d saves", w, len(acks), saves)
			return acks
		}
		if err != nil {
			continue // the api is being killed: what became of the save is not known
		}
		if excused = excused || down.Load(); excused && answer.Status == http.StatusServiceUnavailable {
			continue // the next api is starting: nothing was saved
		}
		var l prefstest.List
		if answer.Status != http.StatusOK || answer.JSON(&l) != nil {
			t.Errorf("a save was answered with %d: %s", answer.Status, answer.Body)
			return acks
		}
		acks = append(acks, acknowledged{user, l.Version, l.ETag})
		answered.Add(1)
	}
	return acks
}

// disturb deletes accounts and kills processes, spread over the saves, until
// the writers are done. It counts the kills.
func disturb(t *testing.T, stage *prefstest.Stage, r *rand.Rand, api, consumer **prefstest.Service, answered *atomic.Int64, down *atomic.Bool, done <-chan struct{}) int {
	t.Helper()
	const kills = 8
	total := int64(writers * saves)
	victims := r.Perm(accounts)[:deletions]
	killed := 0
	for i := range deletions {
		reach(answered, total*int64(i)/int64(deletions+1), done)
		stage.Produce(t, prefstest.Deleted(fmt.Sprintf("evt-%d", i), account(victims[i]), time.Now()))
		if killed >= kills || i*kills < killed*deletions {
			continue
		}
		killed++
		if r.IntN(3) == 0 {
			down.Store(true)
			(*api).Kill()
			*api = stage.API(t, *api)
			down.Store(false)
			continue
		}
		(*consumer).Kill()
		*consumer = stage.Consumer(t, *consumer)
	}
	return killed
}

// reach waits until so many saves are acknowledged, or all writers are done.
func reach(answered *atomic.Int64, n int64, done <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for answered.Load() < n {
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// keepsEveryAcknowledged is I12 in the small: the version that an answer named
// is in the history, made at the very time that its tag names.
func keepsEveryAcknowledged(t *testing.T, stage *prefstest.Stage, acks [][]acknowledged) {
	t.Helper()
	tags := map[acknowledged]bool{}
	require.NoError(t, stage.Store.Snapshot(t.Context(), func(src verify.Source) error {
		for h, err := range src.Lists(t.Context()) {
			if err != nil {
				return err
			}
			for _, c := range h.Changes {
				l := h.List
				l.Version, l.UpdateTime = c.Version, c.Time
				tags[acknowledged{l.UserID, l.Version, l.ETag()}] = true
			}
		}
		return nil
	}))
	lost := 0
	for _, of := range acks {
		for _, a := range of {
			if !tags[a] {
				lost++
				t.Errorf("an acknowledged save is not in the history: %+v", a)
			}
		}
	}
	require.Zero(t, lost)
}
