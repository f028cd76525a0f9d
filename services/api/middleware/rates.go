package middleware

import (
	"hash/maphash"
	"maps"
	"sync"
	"time"
)

// Rates counts the requests of many subjects against one quota.
//
// golang.org/x/time/rate has the same arithmetic, but takes 80 bytes and a lock
// for each subject, a map entry with the subject's text besides, and cannot say
// when a bucket is full. One time says all there is to say about a bucket: when
// it will be full. That is 16 bytes a subject, a token is one interval of it,
// and a bucket that is full can be forgotten, because it is like a new one.
type Rates struct {
	name   string
	quota  Quota
	each   int64 // nanoseconds in which one token flows back
	size   int64 // nanoseconds in which an empty bucket fills up
	atOnce int32
	most   int // subjects that a shard remembers
	policy []string

	seed   maphash.Seed
	begun  time.Time
	shards [shards]shard
}

// shards keep requests of different subjects from waiting for each other.
const shards = 64

// subjects is how many are remembered in all; beyond it the fullest buckets are
// forgotten first, to the benefit of their subjects. That many have each sent
// something within one window.
const subjects = 1 << 20

// shard is a part of the subjects. The text of a subject is not kept: two whose
// 64-bit hashes meet share a bucket, which no one can bring about, because the
// hash has a seed of its own in every process.
type shard struct {
	mu   sync.Mutex
	full map[uint64]int64 // by subject, when its bucket is full, in nanoseconds since begun
	busy map[uint64]int32 // by subject, how many of its requests are in hand
	_    [32]byte         // shards that are locked at the same time share no cache line
}

// NewRates returns the counters of a quota; of each subject at most atOnce
// requests may be in hand at the same time. Without a quota it is nil.
func NewRates(name string, q Quota, atOnce int) *Rates {
	if q.Requests == 0 {
		return nil
	}
	r := &Rates{
		name: name, quota: q, each: int64(q.Window) / int64(q.Requests), atOnce: int32(atOnce), //nolint:gosec // a small constant
		most: subjects / shards, seed: maphash.MakeSeed(), begun: time.Now(),
	}
	r.size = r.each * int64(q.Requests) // a whole number of tokens, whatever the division left over
	r.policy = []string{policyText(name, q, atOnce)}
	for i := range r.shards {
		r.shards[i].full, r.shards[i].busy = map[uint64]int64{}, map[uint64]int32{}
	}
	return r
}

// verdict is what became of one request.
type verdict int

const (
	passed   verdict = iota
	tooFast          // its bucket is empty
	tooMany          // too many others of the subject are in hand
	refunded         // its answer cost nothing
)

// standing is where a subject stands after a request.
type standing struct {
	verdict verdict
	left    int64         // tokens in the bucket
	next    time.Duration // until there is one more; 0 if the bucket is full
}

// key is what stands for a subject.
func (r *Rates) key(subject string) uint64 { return maphash.String(r.seed, subject) }

func (r *Rates) shard(key uint64) *shard { return &r.shards[key%shards] }

// enter takes a token, unless the subject has none or enough is in hand. Who
// passed must leave.
func (r *Rates) enter(key uint64) standing {
	s, now := r.shard(key), int64(time.Since(r.begun))
	s.mu.Lock()
	defer s.mu.Unlock()
	debt := max(s.full[key]-now, 0)
	switch {
	case s.busy[key] >= r.atOnce:
		return r.standing(tooMany, debt)
	case debt+r.each > r.size:
		return r.standing(tooFast, debt)
	}
	if _, known := s.full[key]; !known && len(s.full) >= r.most {
		r.forget(s, now)
	}
	s.full[key] = now + debt + r.each
	s.busy[key]++
	return r.standing(passed, debt+r.each)
}

// leave says that a request is done.
func (r *Rates) leave(key uint64) {
	s := r.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[key]--; s.busy[key] <= 0 {
		delete(s.busy, key)
	}
}

// refund gives a token back.
func (r *Rates) refund(key uint64) standing {
	s, now := r.shard(key), int64(time.Since(r.begun))
	s.mu.Lock()
	defer s.mu.Unlock()
	debt := max(s.full[key]-now-r.each, 0)
	if debt == 0 {
		delete(s.full, key)
	} else {
		s.full[key] = now + debt
	}
	return r.standing(refunded, debt)
}

// standing tells what a bucket lacks in tokens.
func (r *Rates) standing(v verdict, debt int64) standing {
	left := (r.size - debt) / r.each
	next := debt - (r.size - (left+1)*r.each)
	if debt == 0 {
		next = 0
	}
	return standing{verdict: v, left: left, next: time.Duration(next)}
}

// forget makes room in a shard. Full buckets go, which changes nothing; if those
// are too few, those that lack least follow, until an eighth is free: going
// through all of them must not be needed for every new subject.
func (r *Rates) forget(s *shard, now int64) {
	maps.DeleteFunc(s.full, func(_ uint64, full int64) bool { return full <= now })
	enough := r.most - r.most/8
	for lack := r.size / 64; len(s.full) > enough; lack *= 2 {
		maps.DeleteFunc(s.full, func(_ uint64, full int64) bool { return full-now <= lack && len(s.full) > enough })
	}
}

// Subjects is how many are remembered now.
func (r *Rates) Subjects() int {
	if r == nil {
		return 0
	}
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += len(s.full)
		s.mu.Unlock()
	}
	return n
}
