package lin

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/prefstest"
	"github.com/prefsd/prefsd/pkg/retry"
)

// Paces of the owner.
const (
	voices   = 3  // statements under way at once
	between  = 40 // operations of the users from one of them to the next
	watching = 10 * time.Millisecond
)

// owner deletes and restores entities by real events, one statement about an
// entity after the other.
type owner struct {
	run      *run
	producer *kgo.Client

	mu         sync.Mutex
	statements []*statement
}

// statement is one event. It was in force at the latest when it was seen; of a
// deletion, every list was looked at when its clean had ended.
type statement struct {
	entity            string
	nth               int
	event             string
	call, seen, ended int64
	heard             chan struct{} // closed when it was seen
}

func (s *statement) deletes() bool { return s.nth%2 == 1 }

func newOwner(tb testing.TB, r *run) *owner {
	tb.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(r.stage.Broker.Addrs()...), kgo.ProducerLinger(0))
	require.NoError(tb, err)
	tb.Cleanup(producer.Close)
	return &owner{run: r, producer: producer}
}

// speak states one thing after the other until there was enough work.
func (o *owner) speak(ctx context.Context, seed uint64) error {
	g, ctx := errgroup.WithContext(ctx)
	for n := range voices {
		v := voice{owner: o, n: n, r: rand.New(rand.NewPCG(seed, uint64(n))), said: map[int]int{}}
		g.Go(func() error { return v.speak(ctx) })
	}
	return g.Wait()
}

// voice speaks of some of the entities, of which it leaves few deleted: only
// what is there can be deleted in somebody's way.
type voice struct {
	owner *owner
	n     int
	r     *rand.Rand
	said  map[int]int // about each entity
	gone  []int
}

func (v *voice) speak(ctx context.Context) error {
	const often = 4
	for v.owner.waits(ctx) {
		e := v.n + voices*v.r.IntN(pool/voices)
		if len(v.gone) > 0 && v.r.IntN(often) > 0 {
			e = v.gone[0]
		}
		v.said[e]++
		if err := v.owner.state(ctx, account(e), v.said[e]); err != nil {
			return err
		}
		if at := slices.Index(v.gone, e); at >= 0 {
			v.gone = slices.Delete(v.gone, at, at+1)
		} else {
			v.gone = append(v.gone, e)
		}
	}
	return ctx.Err()
}

// waits for the users' next operations. It is false when they have done enough.
func (o *owner) waits(ctx context.Context) bool {
	done := &o.run.count.operations
	for until := done.Load() + voices*between; done.Load() < until; {
		if done.Load() >= o.run.enough || retry.Wait(ctx, watching) != nil {
			return false
		}
	}
	return true
}

// state sends an event and waits until it is in force.
func (o *owner) state(ctx context.Context, entity string, nth int) error {
	s := &statement{entity: entity, nth: nth, event: fmt.Sprintf("%s-%d", entity, nth), heard: make(chan struct{})}
	record := prefstest.Restored(s.event, entity, time.Now())
	if s.deletes() {
		record = prefstest.Deleted(s.event, entity, time.Now())
	}
	s.call = o.run.now()
	o.mu.Lock()
	o.statements = append(o.statements, s)
	o.mu.Unlock()
	if err := o.producer.ProduceSync(ctx, record).FirstErr(); err != nil {
		return fmt.Errorf("produce %s: %w", s.event, err)
	}
	select {
	case <-s.heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen notes when statements are in force and cleans end, until all are and
// have, once nothing more is said.
func (o *owner) listen(ctx context.Context, silent <-chan struct{}) error {
	var late <-chan time.Time
	for {
		waiting := o.waiting()
		select {
		case <-silent:
			silent, late = nil, time.After(prefstest.Patience)
		case <-late:
			return fmt.Errorf("%d statements of the owner have come to no end", len(waiting))
		default:
		}
		if late != nil && len(waiting) == 0 {
			return nil
		}
		if err := o.hear(ctx, waiting); err != nil {
			return err
		}
		if err := retry.Wait(ctx, watching); err != nil {
			return err
		}
	}
}

// waiting are the statements that something is to be heard of, by event.
func (o *owner) waiting() map[string]*statement {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]*statement{}
	for _, s := range o.statements {
		if s.seen == 0 || s.deletes() && s.ended == 0 {
			out[s.event] = s
		}
	}
	return out
}

func (o *owner) hear(ctx context.Context, waiting map[string]*statement) error {
	if len(waiting) == 0 {
		return nil
	}
	var ids []string
	for id := range waiting {
		ids = append(ids, id)
	}
	progress, err := o.run.stage.Progress(ctx, ids...)
	if err != nil {
		return err
	}
	now := o.run.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range progress {
		s := waiting[p.Event]
		if p.Seen && s.seen == 0 {
			s.seen = now
			close(s.heard)
		}
		if p.Cleaned && s.ended == 0 {
			s.ended = now
		}
	}
	return nil
}

// before is what had been said of the list's entities when it began.
func (o *owner) before(l *list) map[string]int {
	out := map[string]int{}
	for _, s := range o.statements {
		if slices.Contains(l.entities, s.entity) && s.seen < l.birth {
			out[s.entity] = s.nth
		}
	}
	return out
}

// during are the owner's operations in the time of the list, each as a client
// of its own: they overlap. A deletion may end, or be overtaken by what the
// owner says next, when the list is left alone already.
func (o *owner) during(l *list, sweeps []sweep) []Operation {
	until := map[string]int64{}
	for _, s := range o.statements {
		if s.deletes() && s.call <= l.death {
			until[s.entity] = max(until[s.entity], s.ended)
		}
	}
	var out []Operation
	add := func(from, to int64, r Request) {
		l.clients++
		out = append(out, Operation{Client: l.clients, Call: from, Return: to, Request: r})
	}
	for _, s := range o.statements {
		if !slices.Contains(l.entities, s.entity) {
			continue
		}
		if s.seen >= l.birth && s.call <= max(l.death, until[s.entity]) {
			add(s.call, s.seen, Request{Kind: Stated, Entity: s.entity, Nth: s.nth})
		}
		if !s.deletes() || s.ended < l.birth || s.call > l.death {
			continue
		}
		touched := o.takenLater(s, l, sweeps)
		for _, w := range sweeps {
			if w.event != s.event {
				continue
			}
			touched = true
			if w.version <= l.last() {
				add(s.call, s.ended, Request{Kind: Swept, Entity: s.entity, Nth: s.nth, Version: w.version})
			}
		}
		if !touched {
			add(s.call, s.ended, Request{Kind: Spared, Entity: s.entity, Nth: s.nth})
		}
	}
	return out
}

// takenLater says whether the entity of a deletion was taken out of the list after
// it was seen for the last time, by a clean that had begun before that of the
// deletion was over: one that goes on from an earlier deletion leaves it nothing.
func (o *owner) takenLater(s *statement, l *list, sweeps []sweep) bool {
	return slices.ContainsFunc(sweeps, func(w sweep) bool {
		return w.version > l.last() && slices.ContainsFunc(o.statements, func(by *statement) bool {
			return by.event == w.event && by.entity == s.entity && by.call < s.ended
		})
	})
}

// last is the version that was seen in the end.
func (l *list) last() int64 { return l.operations[len(l.operations)-1].Answer.Version }

// sweep is a version that a deletion has made.
type sweep struct {
	event   string
	version int64
}

// told is what the topics say of the users' lists: their versions, and those of
// them that deletions have made.
func (r *run) told(tb testing.TB) (told map[string]map[int64]Event, swept map[string][]sweep) {
	tb.Helper()
	told, swept = map[string]map[int64]Event{}, map[string][]sweep{}
	tell := func(user string, version int64, e Event) {
		if told[user] == nil {
			told[user] = map[int64]Event{}
		}
		told[user][version] = e
	}
	for _, record := range r.stage.Topic(tb, prefstest.Updates) {
		var e struct{ Data events.Updated }
		require.NoError(tb, json.Unmarshal(record.Value, &e))
		u := e.Data
		for _, entities := range [][]string{u.Created, u.Updated, u.Deleted} {
			slices.Sort(entities)
		}
		tell(u.UserID, u.Version, Event{u.Action, u.Created, u.Updated, u.Deleted, u.Total, u.ETag, ""})
	}
	type made struct {
		user    string
		version int64
	}
	seen := map[made]bool{}
	for _, record := range r.stage.Topic(tb, prefstest.Cleaned) {
		var e struct{ Data events.Cleaned }
		require.NoError(tb, json.Unmarshal(record.Value, &e))
		for _, l := range e.Data.Lists {
			cause, _ := strings.CutPrefix(e.Data.Cause, "event:")
			at := made{l.UserID, l.Version}
			if !seen[at] { // a part may be delivered again
				swept[l.UserID] = append(swept[l.UserID], sweep{cause, l.Version})
			}
			seen[at] = true
			tell(l.UserID, l.Version, Event{Action: "clean", Deleted: []string{e.Data.EntityID}, Cause: cause})
		}
	}
	return told, swept
}

func TestAHistoryMayEndBeforeADeletionIsOvertaken(t *testing.T) {
	t.Parallel()
	l := &list{user: "u", entities: []string{"a", "b"}, birth: 10, death: 30, operations: []Operation{
		{Client: 1, Call: 11, Return: 12, Request: save(1, "a").Request, Answer: save(1, "a").Answer},
		{Client: 1, Call: 28, Return: 29, Request: Request{Kind: Get}, Answer: read(1, "a").Answer},
	}, clients: 1}
	deleted := &statement{entity: "a", nth: 1, event: "a-1", call: 20, seen: 25, ended: 60}
	restored := &statement{entity: "a", nth: 2, event: "a-2", call: 40, seen: 50}

	check := func(of ...*statement) error {
		ops := slices.Concat(l.operations, (&owner{statements: of}).during(l, nil))
		return History{Name: "u", Operations: ops}.Check()
	}
	require.NoError(t, check(deleted, restored))
	require.ErrorIs(t, check(deleted), ErrRefused, "it ended, and the entity is still in the list")
	restored.call = 61
	require.ErrorIs(t, check(deleted, restored), ErrRefused, "it had ended before")
}

func TestAHistoryMayEndBeforeAnEarlierCleanTakesWhatIsDeletedAgain(t *testing.T) {
	t.Parallel()
	l := &list{user: "u", entities: []string{"a"}, birth: 10, death: 30, operations: []Operation{
		{Client: 1, Call: 11, Return: 12, Request: save(1, "a").Request, Answer: save(1, "a").Answer},
	}, clients: 1}
	check := func(by *statement) error {
		deleted := &statement{entity: "a", nth: 3, event: "a-3", call: 20, seen: 25, ended: 60}
		o := &owner{statements: []*statement{by, deleted}}
		ops := o.during(l, []sweep{{by.event, 2}})
		return History{Name: "u", Owned: map[string]int{"a": 2}, Operations: slices.Concat(l.operations, ops)}.Check()
	}
	require.NoError(t, check(&statement{entity: "a", nth: 1, event: "a-1", call: 1, seen: 2, ended: 9}))
	require.ErrorIs(t, check(&statement{entity: "a", nth: 5, event: "a-5", call: 70, seen: 75, ended: 80}), ErrRefused)
	require.ErrorIs(t, check(&statement{entity: "b", nth: 1, event: "b-1", call: 1, seen: 2, ended: 9}), ErrRefused)
}
