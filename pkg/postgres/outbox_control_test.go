package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
)

func control(t *testing.T, url string) *postgres.OutboxControl {
	t.Helper()
	c, err := postgres.NewOutboxControl(url, "main")
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// ids are the rows of a key that arrived, in order.
func ids(log []outbox.Message, key string) []int64 {
	var out []int64
	for _, m := range log {
		if string(m.Key) == key {
			out = append(out, m.ID)
		}
	}
	return out
}

func TestWhileItIsPausedNothingIsPublished(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	r := relay(t, source(t, url), b, quick())
	until(t, "it leads", func() bool { return r.Status().Leader })
	const pauses, each = 5, 40
	for i := range pauses {
		for n := range each {
			put(t, conn, fmt.Sprint("u", n%3), n, nil)
		}
		if i > 0 {
			resumed, err := c.Resume(t.Context())
			require.NoError(t, err)
			require.True(t, resumed)
			b.waitFor(t, i*each)
		}
		require.NoError(t, c.Pause(t.Context()))
		before := len(b.messages())
		put(t, conn, "u0", each, nil)
		require.Equal(t, int64(0), scalar[int64](t, conn, "select count(*) from outbox_relays where expires_at > now()"))
		require.Len(t, b.messages(), before)
	}
	until(t, "it says so", func() bool { return r.Status().Paused && !r.Status().Leader })
	require.NoError(t, c.Pause(t.Context()), "once more does no harm")
	resumed, err := c.Resume(t.Context())
	require.NoError(t, err)
	require.True(t, resumed)
	log := b.waitFor(t, pauses*(each+1))
	put(t, conn, "last", 1, nil)
	log = b.waitFor(t, len(log)+1)
	require.Len(t, log, pauses*(each+1)+1, "nothing is lost, nothing comes twice")
	for n := range 3 {
		require.IsIncreasing(t, ids(log, fmt.Sprint("u", n)))
	}
	resumed, err = c.Resume(t.Context())
	require.NoError(t, err)
	require.False(t, resumed)
}

func TestPauseFencesOffALeaderThatDoesNotListen(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, c := connect(t, url), control(t, url)
	put(t, conn, "u", 1, nil)
	deaf, err := source(t, url).Claim(t.Context(), "deaf", time.Second)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { // as a release that does not know of pausing would
		start, _ := deaf.Start()
		var err error
		for err == nil {
			_, err = deaf.Save(t.Context(), start, time.Second)
		}
		ended <- err
	}()
	require.NoError(t, c.Pause(t.Context()))
	require.ErrorIs(t, <-ended, outbox.ErrFenced)
	_, err = source(t, url).Claim(t.Context(), "other", time.Second)
	require.ErrorIs(t, err, outbox.ErrHeld)
}

func TestDecisionsAboutTheQuarantineAreCarriedOutInOrder(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	var refusing atomic.Bool
	refusing.Store(true)
	b.answers(func(m outbox.Message) error {
		if string(m.Value) == "large" && refusing.Load() {
			return &outbox.Refused{Permanent: true, Err: fmt.Errorf("too large")}
		}
		return nil
	})
	r := relay(t, source(t, url), b, quick())
	var bad []uuid.UUID
	for n := range 4 { // of u: 1 refused, 2 follows, 3 refused, 4 follows; v and w alike
		for _, subject := range []string{"u", "v", "w"} {
			value := []byte("small")
			if n%2 == 0 {
				value = []byte("large")
			}
			id := put(t, conn, subject, n, value)
			if n == 0 {
				bad = append(bad, id)
			}
		}
	}
	put(t, conn, "free", 1, nil)
	b.waitFor(t, 1)
	quarantined := func() int {
		return scalar[int](t, conn, "select count(*) from outbox_quarantine where resolved_at is null")
	}
	until(t, "all are in quarantine", func() bool { return quarantined() == 12 })
	undecided, err := c.Undecided(t.Context())
	require.NoError(t, err)
	require.Equal(t, bad, undecided, "the others only follow")
	all, err := c.Quarantined(t.Context(), false, 100)
	require.NoError(t, err)
	require.Len(t, all, 12)
	require.Equal(t, bad[0], all[0].EventID)
	require.Equal(t, "refused", all[0].Reason)
	require.Equal(t, 5, *all[0].Bytes)
	require.Equal(t, bad[0], *all[3].BlockedBy)

	refusing.Store(false)
	judged, err := c.Judge(t.Context(), append(bad[:1:1], uuid.New()), postgres.Release)
	require.NoError(t, err)
	require.Equal(t, bad[:1], judged, "a stranger is not decided on")
	_, err = c.Judge(t.Context(), bad[1:2], postgres.Drop)
	require.NoError(t, err)
	left, err := c.AwaitJudged(t.Context(), bad[:2], 30*time.Second)
	require.NoError(t, err)
	require.Zero(t, left)
	log := b.waitFor(t, 1+4+3)
	require.Equal(t, []int64{1, 4, 7, 10}, ids(log, "u"))
	require.Equal(t, []int64{5, 8, 11}, ids(log, "v"))
	require.Empty(t, ids(log, "w"))
	until(t, "the rest still waits", func() bool { return quarantined() == 4 && r.Status().Quarantined == 4 })
	put(t, conn, "u", 5, nil)
	put(t, conn, "w", 5, nil)
	require.Equal(t, "u", string(b.waitFor(t, 9)[8].Key), "a key is free again once nothing of it waits")
	_, err = c.Judge(t.Context(), bad[2:], postgres.Release)
	require.NoError(t, err)
	log = b.waitFor(t, 9+5)
	require.Equal(t, []int64{3, 6, 9, 12, 15}, ids(log, "w"))
	require.Len(t, b.messages(), 14)
	settled, err := c.Quarantined(t.Context(), true, 100)
	require.NoError(t, err)
	require.Len(t, settled, 13)
	require.NotNil(t, settled[0].ResolvedAt)
	require.Equal(t, postgres.Release, settled[0].Decision)
	_, err = conn.Exec(t.Context(), "update outbox_quarantine set resolved_at = now() - interval '31 days' where event_id = $1", bad[0])
	require.NoError(t, err)
	until(t, "it is off the record", func() bool { return scalar[int](t, conn, "select count(*) from outbox_quarantine") == 12 })
}

func TestReleasedAndRefusedAgainIsInQuarantineAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	b.answers(func(outbox.Message) error { return &outbox.Refused{Permanent: true, Err: fmt.Errorf("no")} })
	relay(t, source(t, url), b, quick())
	bad, follower := put(t, conn, "u", 1, nil), put(t, conn, "u", 2, nil)
	waits := func(attempts int) bool {
		return scalar[int](t, conn, "select count(*) from outbox_quarantine where resolved_at is null and decision is null") == 2 &&
			scalar[int](t, conn, "select attempts from outbox_quarantine where event_id = $1", bad) == attempts
	}
	until(t, "both wait", func() bool { return waits(1) })
	_, err := c.Judge(t.Context(), []uuid.UUID{bad}, postgres.Release)
	require.NoError(t, err)
	until(t, "both wait again", func() bool { return waits(2) })
	b.answers(nil)
	_, err = c.Judge(t.Context(), []uuid.UUID{bad}, postgres.Release)
	require.NoError(t, err)
	log := b.waitFor(t, 2)
	require.Equal(t, []uuid.UUID{bad, follower}, []uuid.UUID{log[0].EventID, log[1].EventID})
}

func TestReplayPublishesAgainWhatWasAskedAndNothingElse(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	relay(t, source(t, url), b, quick())
	const n = 2500
	_, err := conn.Exec(t.Context(), `insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, payload)
		select gen_random_uuid(), 'list', 'user-' || i % 7, i, 'preferences.updated', 'preferences.events', null from generate_series(1, $1::int) i`, n)
	require.NoError(t, err)
	b.waitFor(t, n)
	until(t, "all is noted", func() bool { return scalar[int](t, conn, "select max_id from outbox_relays") == n })

	some := postgres.OutboxSelection{FromID: 101, ToID: 2300}
	planned, err := c.Published(t.Context(), some)
	require.NoError(t, err)
	require.Len(t, planned, 1)
	require.Equal(t, 2200, planned[0].Events)
	require.Equal(t, int64(101), planned[0].FirstID)
	require.Equal(t, int64(2300), planned[0].LastID)
	var last int64
	replayed, err := c.Replay(t.Context(), some, 0, func(id int64, _ int) { require.Greater(t, id, last); last = id })
	require.NoError(t, err)
	require.Equal(t, 2200, replayed)
	require.Equal(t, int64(2300), last)
	replayed, err = c.Replay(t.Context(), postgres.OutboxSelection{FromID: 2400, Key: "user-3"}, 0, func(int64, int) {})
	require.NoError(t, err)
	put(t, conn, "last", 1, nil)
	log := b.waitFor(t, n+2200+replayed+1)
	require.Len(t, log, n+2200+replayed+1)
	times := map[int64]int{}
	for _, m := range log {
		times[m.ID]++
	}
	for id := int64(1); id <= n; id++ {
		want := 1
		if id >= 101 && id <= 2300 || id >= 2400 && id%7 == 3 {
			want = 2
		}
		require.Equal(t, want, times[id], "row %d", id)
	}
	for k := range 7 {
		require.IsIncreasing(t, ids(log[n:n+2200], fmt.Sprint("user-", k)), "the second time in order, too")
	}
}

func TestReplayLeavesAloneWhatIsNotPublished(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	r := relay(t, source(t, url), b, quick())
	first := put(t, conn, "u", 1, nil)
	b.waitFor(t, 1)
	until(t, "it is noted", func() bool { return scalar[int](t, conn, "select max_id from outbox_relays") == 1 })
	b.answers(func(outbox.Message) error { return outbox.ErrUnreachable })
	_, err := conn.Exec(t.Context(), "begin")
	require.NoError(t, err)
	second, third := put(t, conn, "u", 2, nil), put(t, conn, "u", 3, nil)
	_, err = conn.Exec(t.Context(), "commit") // one read finds both: none of them comes with what is replayed
	require.NoError(t, err)
	until(t, "the broker is away", func() bool { return r.Status().BrokerAway })
	replayed, err := c.Replay(t.Context(), postgres.OutboxSelection{}, 0, func(int64, int) {})
	require.NoError(t, err)
	require.Equal(t, 1, replayed)
	b.answers(nil)
	log := b.waitFor(t, 4)
	var got []uuid.UUID
	for _, m := range log {
		got = append(got, m.EventID)
	}
	require.Equal(t, []uuid.UUID{first, second, third, first}, got)
}

func TestReplayByTimeAtARate(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b, c := connect(t, url), newBroker(), control(t, url)
	relay(t, source(t, url), b, quick())
	for n := range 30 {
		put(t, conn, "u", n, nil)
	}
	_, err := conn.Exec(t.Context(), "update outbox set created_at = now() - interval '1 hour' * (30 - aggregate_seq)")
	require.NoError(t, err)
	b.wait(t, func(log []outbox.Message) bool { return distinct(log) == 30 })
	until(t, "all is noted", func() bool { return scalar[int](t, conn, "select max_id from outbox_relays") == 30 })
	before := len(b.messages())
	window := postgres.OutboxSelection{Since: time.Now().Add(-20*time.Hour - time.Minute), Until: time.Now().Add(-time.Hour - time.Minute)}
	began := time.Now()
	replayed, err := c.Replay(t.Context(), window, 10, func(int64, int) {})
	require.NoError(t, err)
	require.Equal(t, 19, replayed)
	require.GreaterOrEqual(t, time.Since(began), time.Second)
	log := b.waitFor(t, before+19)
	require.Len(t, log, before+19)
	for i, m := range log[before:] {
		require.Equal(t, int64(i+11), m.ID)
	}
}

func TestReanchorPublishesWhatMayBeMissingAndSkipsNothing(t *testing.T) {
	t.Parallel()
	for name, sabotage := range map[string]string{
		// Another cluster's numbers of transactions: those of rows and of the cursor are higher than any here.
		"another cluster": `update outbox set xid = (xid::text::bigint + 4000000000)::text::xid8;
			update outbox_relays set system_identifier = 1, snapshot = (select format('%1$s:%1$s:', max(xid::text::bigint) + 1) from outbox)`,
		"a cursor that is ahead": "update outbox_relays set snapshot = '900000000:900000000:'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.New(t)
			conn, b, c := connect(t, url), newBroker(), control(t, url)
			first := relay(t, source(t, url), b, quick())
			for n := range 10 {
				put(t, conn, "u", n, nil)
			}
			b.waitFor(t, 10)
			first.stop()
			plan, err := c.Anchor(t.Context(), false)
			require.NoError(t, err)
			require.Equal(t, postgres.Anchoring{Kept: 10}, plan)
			_, err = conn.Exec(t.Context(), sabotage)
			require.NoError(t, err)
			var missed []uuid.UUID
			for n := range 5 {
				missed = append(missed, put(t, conn, "u", 10+n, nil))
			}
			r := relay(t, source(t, url), b, quick())
			until(t, "it stands still", func() bool { return r.Status().NeedsReanchor })
			require.Len(t, b.messages(), 10)

			plan, err = c.Anchor(t.Context(), false)
			require.NoError(t, err)
			require.Equal(t, postgres.Anchoring{Needed: true, Again: 5, Kept: 10}, plan)
			done, err := c.Reanchor(t.Context(), false, false)
			require.NoError(t, err)
			require.Equal(t, plan, done)
			put(t, conn, "u", 15, nil)
			log := b.waitFor(t, 16)
			for i, id := range missed {
				require.Equal(t, id, log[10+i].EventID)
			}
			require.Len(t, log, 16)
			until(t, "it leads again", func() bool { return r.Status().Leader && !r.Status().NeedsReanchor })

			done, err = c.Reanchor(t.Context(), false, false)
			require.NoError(t, err)
			require.False(t, done.Needed, "a second time changes nothing")
			require.Len(t, b.messages(), 16)
			until(t, "all is noted", func() bool { return scalar[int](t, conn, "select max_id from outbox_relays") == 16 })
			_, err = c.Reanchor(t.Context(), true, true)
			require.NoError(t, err)
			log = b.waitFor(t, 32)
			require.IsIncreasing(t, ids(log[16:], "u"), "everything, in order")
		})
	}
}

func TestAnchoringKeepsRowsThatWereOnTheirWay(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, slow, b, c := connect(t, url), connect(t, url), newBroker(), control(t, url)
	first := relay(t, source(t, url), b, quick())
	_, err := slow.Exec(t.Context(), "begin")
	require.NoError(t, err)
	late := put(t, slow, "slow", 1, nil) // the lowest id, and not in the cursor
	put(t, conn, "u", 1, nil)
	b.waitFor(t, 1)
	first.stop()
	_, err = slow.Exec(t.Context(), "commit")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "update outbox_relays set system_identifier = 1")
	require.NoError(t, err)
	a, err := c.Reanchor(t.Context(), false, false)
	require.NoError(t, err)
	require.Equal(t, postgres.Anchoring{Needed: true, Again: 1, Kept: 1}, a)
	relay(t, source(t, url), b, quick())
	require.Equal(t, late, b.waitFor(t, 2)[1].EventID)
}

func TestAnAnchorForNobody(t *testing.T) {
	t.Parallel()
	c := control(t, pgtest.New(t))
	_, err := c.Reanchor(t.Context(), false, true)
	require.ErrorIs(t, err, postgres.ErrNoRelay)
}
