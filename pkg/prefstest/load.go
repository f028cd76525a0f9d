package prefstest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/verify"
)

// LoadOptions say who saves what.
type LoadOptions struct {
	Writers  int           // at once
	Saves    int           // of each writer that are acknowledged; 0: until Stop
	Users    int           // in all; no two writers save for the same one
	Accounts int           // that are listed, named acc-000 and so on
	First    int           // number of the first account
	Pause    time.Duration // of a writer after each save
	Within   time.Duration // how long writers try at most
	Seed     uint64        // of every choice
}

// loadWithin bounds how long writers try, unless the options say it.
const loadWithin = 4 * time.Minute

// Load is users who save one random order after the other through the api, and
// remember what was acknowledged.
type Load struct {
	stage    *Stage
	opts     LoadOptions
	url      string
	answered atomic.Int64
	excused  atomic.Bool
	stop     context.CancelFunc
	done     chan struct{}
	acks     [][]acknowledged
}

// acknowledged is a save whose answer came: its version must be in the history.
type acknowledged struct {
	user    string
	version int64
	etag    string
}

// StartLoad begins to save. It ends with the test at the latest.
func (s *Stage) StartLoad(tb testing.TB, url string, o LoadOptions) *Load {
	tb.Helper()
	l := &Load{stage: s, opts: o, url: url, done: make(chan struct{}), acks: make([][]acknowledged, o.Writers)}
	ctx, cancel := context.WithTimeout(tb.Context(), cmp.Or(o.Within, loadWithin))
	l.stop = cancel
	r := rand.New(rand.NewPCG(o.Seed, 0))
	var wg sync.WaitGroup
	for w := range o.Writers {
		choose := rand.New(rand.NewPCG(r.Uint64(), uint64(w)))
		wg.Go(func() { l.acks[w] = l.write(ctx, tb, w, choose) })
	}
	go func() {
		defer close(l.done)
		wg.Wait()
	}()
	tb.Cleanup(l.Stop)
	return l
}

// Stop ends the saving and waits for the writers.
func (l *Load) Stop() {
	l.stop()
	<-l.done
}

// Done is closed when the writers have what they want.
func (l *Load) Done() <-chan struct{} { return l.done }

// Answered is how many saves were acknowledged so far.
func (l *Load) Answered() int64 { return l.answered.Load() }

// Excuse says whether a save may be refused with 503 from now on, because of
// what the story does to the api or to what it needs.
func (l *Load) Excuse(refusals bool) { l.excused.Store(refusals) }

// write saves until it has enough.
func (l *Load) write(ctx context.Context, tb testing.TB, w int, r *rand.Rand) (acks []acknowledged) { //nolint:thelper // a writer, no helper
	callers := map[string]*Caller{}
	for l.opts.Saves == 0 || len(acks) < l.opts.Saves {
		user := fmt.Sprintf("user-%d", w+l.opts.Writers*r.IntN(l.opts.Users/l.opts.Writers))
		c := callers[user]
		if c == nil {
			c = NewCaller(l.url, l.stage.Token(tb, user))
			defer c.Close()
			callers[user] = c
		}
		excused := l.excused.Load()
		answer, err := c.Do(ctx, http.MethodPut, "/preferences:batchReplace", Order(l.order(r)...))
		switch excused = excused || l.excused.Load(); {
		case ctx.Err() != nil:
			if l.opts.Saves > 0 {
				tb.Errorf("writer %d has %d of %d saves", w, len(acks), l.opts.Saves)
			}
			return acks
		case err != nil && excused:
			continue // the api is being killed: what became of the save is not known
		case err == nil && excused && answer.Status == http.StatusServiceUnavailable:
			continue // perhaps saved, perhaps not: nothing was promised
		}
		var saved List
		if err != nil || answer.Status != http.StatusOK || answer.JSON(&saved) != nil {
			tb.Errorf("a save was answered with %d: %s, %v", answer.Status, answer.Body, err)
			return acks
		}
		acks = append(acks, acknowledged{user, saved.Version, saved.ETag})
		l.answered.Add(1)
		l.rest(ctx)
	}
	return acks
}

// rest lets others have the processors for a while.
func (l *Load) rest(ctx context.Context) {
	timer := time.NewTimer(l.opts.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// order is what is saved: some accounts in any order.
func (l *Load) order(r *rand.Rand) []string {
	const fewest, spread = 4, 8
	var order []string
	for _, n := range r.Perm(l.opts.Accounts)[:fewest+r.IntN(spread)] {
		order = append(order, fmt.Sprintf("acc-%03d", l.opts.First+n))
	}
	return order
}

// Await waits until so many saves were acknowledged in all, or the writers are
// done.
func (l *Load) Await(n int64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.answered.Load() < n {
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
}

// Flow waits until so many more saves were acknowledged.
func (l *Load) Flow(tb testing.TB, n int64) {
	tb.Helper()
	target := l.answered.Load() + n
	Eventually(tb, Patience, "users can save", func() bool { return l.answered.Load() >= target })
}

// Check is I12 in the small: the version that an answer named is in the history,
// made at the very time that its tag names. It returns how many there were.
func (l *Load) Check(tb testing.TB) (saves int) {
	tb.Helper()
	saves, missing := l.Count(tb)
	for _, a := range missing {
		tb.Errorf("an acknowledged save is not in the history: %s", a)
	}
	return saves
}

// Count ends the saving. It returns how many saves were acknowledged, and names
// those of them that the history does not have.
func (l *Load) Count(tb testing.TB) (saves int, missing []string) {
	tb.Helper()
	l.Stop()
	tags := map[acknowledged]bool{}
	require.NoError(tb, l.stage.Store.Snapshot(context.Background(), func(src verify.Source) error {
		for h, err := range src.Lists(context.Background()) {
			if err != nil {
				return err
			}
			for _, c := range h.Changes {
				list := h.List
				list.Version, list.UpdateTime = c.Version, c.Time
				tags[acknowledged{list.UserID, list.Version, list.ETag()}] = true
			}
		}
		return nil
	}))
	for _, of := range l.acks {
		for _, a := range of {
			saves++
			if !tags[a] {
				missing = append(missing, fmt.Sprintf("%+v", a))
			}
		}
	}
	return saves, missing
}
