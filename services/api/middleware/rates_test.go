package middleware

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// tenASecond is a bucket of 20 tokens that gets ten a second.
var tenASecond = Quota{Requests: 20, Window: 2 * time.Second}

func TestABucketEmptiesAndFillsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRates("user", tenASecond, 100)
		alice, bob := r.key("alice"), r.key("bob")
		for left := int64(19); left >= 0; left-- {
			require.Equal(t, standing{passed, left, 100 * time.Millisecond}, r.enter(alice))
		}
		require.Equal(t, standing{tooFast, 0, 100 * time.Millisecond}, r.enter(alice))
		require.Equal(t, passed, r.enter(bob).verdict, "buckets are by subject")

		<-time.After(40 * time.Millisecond)
		require.Equal(t, standing{tooFast, 0, 60 * time.Millisecond}, r.enter(alice))
		<-time.After(60 * time.Millisecond)
		require.Equal(t, passed, r.enter(alice).verdict)
		require.Equal(t, tooFast, r.enter(alice).verdict)
		<-time.After(time.Hour)
		require.Equal(t, int64(19), r.enter(alice).left, "a bucket holds no more than it can")
	})
}

func TestARefundIsAsIfNothingHadBeenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRates("user", tenASecond, 1)
		alice := r.key("alice")
		for range 1000 {
			require.Equal(t, passed, r.enter(alice).verdict)
			require.Equal(t, standing{refunded, 20, 0}, r.refund(alice))
			r.leave(alice)
		}
		require.Zero(t, r.Subjects(), "a full bucket need not be remembered")
		r.enter(alice)
		r.leave(alice)
		r.enter(alice)
		require.Equal(t, int64(19), r.refund(alice).left)
	})
}

func TestOneSubjectHasOnlySoManyRequestsInHand(t *testing.T) {
	t.Parallel()
	r := NewRates("user", tenASecond, 3)
	alice := r.key("alice")
	for range 3 {
		require.Equal(t, passed, r.enter(alice).verdict)
	}
	refused := r.enter(alice)
	require.Equal(t, tooMany, refused.verdict)
	require.Equal(t, int64(17), refused.left, "who is refused pays nothing")
	require.Equal(t, passed, r.enter(r.key("bob")).verdict)
	r.leave(alice)
	require.Equal(t, passed, r.enter(alice).verdict)
}

func TestNoQuotaIsNoCounter(t *testing.T) {
	t.Parallel()
	var none *Rates
	require.Equal(t, none, NewRates("user", Quota{}, 1))
	require.Zero(t, none.Subjects())
}

// TestTheFullestBucketsAreForgottenFirst: whoever has used up most stays known
// when there are too many subjects, so that nobody gets new tokens by crowding.
func TestTheFullestBucketsAreForgottenFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRates("user", Quota{Requests: 100, Window: 100 * time.Second}, 1<<20)
		r.most = 64
		for i := range 1000 { // they are full again soon
			r.enter(uint64(i * shards))
		}
		<-time.After(2 * time.Second)
		const greedy = 7 * shards
		for range 100 {
			require.Equal(t, passed, r.enter(greedy).verdict)
		}
		for i := range 1000 {
			r.enter(uint64((2000 + i) * shards))
			require.LessOrEqual(t, r.Subjects(), r.most)
		}
		require.Equal(t, tooFast, r.enter(greedy).verdict)
	})
}

// TestSubjectsTakeLittleMemory measures what a subject costs, and that more
// subjects than are remembered cost no more. It has the heap to itself.
func TestSubjectsTakeLittleMemory(t *testing.T) {
	const subjects = 64 << 10
	r := NewRates("user", Quota{Requests: 100, Window: time.Hour}, 10)
	r.most = subjects / shards
	before := heap()
	for i := range subjects {
		key := r.key("user-" + strconv.Itoa(i))
		r.enter(key)
		r.leave(key)
	}
	known, cost := r.Subjects(), heap()-before
	t.Logf("%d subjects take %d bytes each", known, cost/int64(known))
	require.Greater(t, known, subjects*9/10)
	require.Less(t, cost/int64(known), int64(64))
	for i := range subjects {
		key := r.key("other-" + strconv.Itoa(i))
		r.enter(key)
		r.leave(key)
	}
	require.LessOrEqual(t, r.Subjects(), subjects)
	require.Less(t, heap()-before, int64(64*subjects))
	runtime.KeepAlive(r)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestACrowdTakesExactlyWhatThereIs(t *testing.T) {
	t.Parallel()
	r := NewRates("user", Quota{Requests: 500, Window: time.Hour}, 1<<20)
	var through, refused atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 10 {
				if r.enter(r.key("alice")).verdict == passed {
					through.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, [2]int64{500, 500}, [2]int64{through.Load(), refused.Load()})
}

func TestQuotasAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Quota{
		"off":                     {},
		"1/1s":                    {1, time.Second},
		"600/1m0s":                {600, time.Minute},
		"1000000000/24h":          {1_000_000_000, 24 * time.Hour},
		"6000/1m":                 {6000, time.Minute},
		"":                        {-1, 0},
		"600":                     {-1, 0},
		"0/1s":                    {-1, 0},
		"-1/1s":                   {-1, 0},
		"1000000001/1s":           {-1, 0},
		"1/1500ms":                {-1, 0},
		"1/0s":                    {-1, 0},
		"1/25h":                   {-1, 0},
		"1/m":                     {-1, 0},
		"1/1s/1s":                 {-1, 0},
		"99999999999999999999/1s": {-1, 0},
	} {
		var q Quota
		err := q.UnmarshalText([]byte(text))
		if want.Requests < 0 {
			require.ErrorContains(t, err, "must be like 600/1m", text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, q)
		var again Quota
		require.NoError(t, again.UnmarshalText([]byte(q.String())))
		require.Equal(t, q, again)
	}
}

func BenchmarkRates(b *testing.B) {
	r := NewRates("user", Quota{Requests: 1_000_000_000, Window: time.Second}, 1<<20)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := r.key("user-123")
			r.enter(key)
			r.leave(key)
		}
	})
}
