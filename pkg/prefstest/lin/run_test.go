package lin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

// How the work is spread. A list lives for so short a time that what is not
// known of it does not pile up, and many of its entities are deleted meanwhile.
const (
	groups   = 6  // lists that are worked on at once
	sharing  = 3  // clients of a list
	requests = 34 // of each of them
	pool     = 12 // entities that the owner has
	listed   = 8  // of them that a list's users think of
	murky    = 6  // outcomes of a list that may be unknown until it is left alone
)

// run is the work of all clients on one deployment.
type run struct {
	stage  *prefstest.Stage
	url    string
	began  time.Time
	enough int64 // operations
	owner  *owner
	count  counts
	marked atomic.Int64

	mu    sync.Mutex
	lists []*list
}

// counts are of what came of the requests.
type counts struct {
	operations, unknown, refused, resolved, conflicts, absent atomic.Int64
}

func (c *counts) answered(r Request, a Answer) {
	c.operations.Add(1)
	switch {
	case a.Unknown:
		c.unknown.Add(1)
	case a.Status == http.StatusPreconditionFailed:
		c.conflicts.Add(1)
	case a.Code == codeDeleted, len(a.Skipped) > 0:
		c.absent.Add(1)
	}
}

func (c *counts) String() string {
	return fmt.Sprintf("%d operations, %d unknown, %d resolved by their key, %d refused for the moment, %d conflicts, %d met a deleted entity",
		c.operations.Load(), c.unknown.Load(), c.resolved.Load(), c.refused.Load(), c.conflicts.Load(), c.absent.Load())
}

// list is one user's, whom several clients share.
type list struct {
	user         string
	entities     []string
	birth, death int64

	mu         sync.Mutex
	operations []Operation
	clients    int
	unknown    int
}

func (l *list) add(o Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.operations = append(l.operations, o)
	if o.Answer.Unknown {
		l.unknown++
	}
}

// newcomer is the name of another client.
func (l *list) newcomer() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients++
	return l.clients
}

// clear says whether enough is known of the list.
func (l *list) clear() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unknown < murky
}

func (r *run) now() int64 { return int64(time.Since(r.began)) }

// marks are attributes that nobody has used.
func (r *run) marks() int { return int(r.marked.Add(1)) }

// work has the groups take one list after the other until there was enough.
func (r *run) work(ctx context.Context, tb testing.TB, seed uint64) error { //nolint:thelper // the work itself
	g, ctx := errgroup.WithContext(ctx)
	for n := range groups {
		choose := rand.New(rand.NewPCG(seed, uint64(n)))
		via := &http.Client{Timeout: answerWithin, Transport: &http.Transport{MaxIdleConnsPerHost: sharing}}
		tb.Cleanup(via.CloseIdleConnections)
		g.Go(func() error {
			for k := 0; r.count.operations.Load() < r.enough; k++ {
				l := r.begin(fmt.Sprintf("user-%d-%d", n, k), choose)
				caller := prefstest.Caller{Base: r.url, Token: r.stage.Token(tb, l.user), HTTP: via}
				if err := r.share(ctx, l, caller, choose); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// answerWithin is how long a client waits.
const answerWithin = 20 * time.Second

func (r *run) begin(user string, choose *rand.Rand) *list {
	l := &list{user: user, birth: r.now()}
	for _, e := range choose.Perm(pool)[:listed] {
		l.entities = append(l.entities, account(e))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists = append(r.lists, l)
	return l
}

// share has clients work on a list at once, and one of them look at it in the
// end.
func (r *run) share(ctx context.Context, l *list, caller prefstest.Caller, choose *rand.Rand) error {
	all := make([]*client, sharing)
	working, of := errgroup.WithContext(ctx)
	for i := range all {
		all[i] = &client{Caller: caller, run: r, list: l, r: rand.New(rand.NewPCG(choose.Uint64(), 0)), name: l.newcomer()}
		working.Go(func() error { return all[i].work(of, requests) })
	}
	if err := working.Wait(); err != nil {
		return err
	}
	err := all[0].look(ctx)
	l.death = r.now()
	return err
}

func account(n int) string { return fmt.Sprintf("acc-%02d", n) }

// histories are those of all lists, with what the owner did to them and what
// was told of them.
func (r *run) histories(tb testing.TB, name string, seed uint64) []History {
	tb.Helper()
	told, swept := r.told(tb)
	out := make([]History, len(r.lists))
	for i, l := range r.lists {
		require.NotEmpty(tb, l.operations)
		h := History{Name: name + "-" + l.user, Seed: seed, Operations: l.operations, Events: told[l.user]}
		if h.Events == nil {
			h.Events = map[int64]Event{}
		}
		h.Owned = r.owner.before(l)
		h.Operations = append(h.Operations, r.owner.during(l, swept[l.user])...)
		out[i] = h
	}
	return out
}
