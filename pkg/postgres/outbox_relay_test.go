package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
)

func TestRelayPublishesWhatTheStoreWrites(t *testing.T) {
	t.Parallel()
	h := open(t)
	b := newBroker()
	r := relay(t, source(t, h.url), b, quick())
	h.store.AfterCommit(r.Poke)
	h.save(t, "alice", "a", "b")
	m := b.waitFor(t, 1)[0]
	require.Equal(t, "preferences.events", m.Topic)
	require.Equal(t, "alice", string(m.Key))
	require.Equal(t, scalar[[]byte](t, h.admin, "select payload from outbox"), m.Value)
	headers := map[string]string{}
	for _, h := range m.Headers {
		headers[h.Name] = string(h.Value)
	}
	require.Equal(t, m.EventID.String(), headers["ce_id"])
	require.Equal(t, string(events.PreferencesUpdated), headers["ce_type"])
	require.Equal(t, "/prefsd/test", headers["ce_source"])
	require.Equal(t, events.SchemaURI(events.PreferencesUpdated, 1), headers["ce_dataschema"])
	_, err := time.Parse(time.RFC3339Nano, headers["ce_time"])
	require.NoError(t, err)
}

func TestDeadLetterKeepsItsBytes(t *testing.T) {
	t.Parallel()
	h := open(t)
	b := newBroker()
	letter := events.DeadLetter{
		ID: uuid.Must(uuid.NewV7()), Topic: "dead", FailedAt: time.Now(),
		Record: events.Record{
			Topic: "account.events", Key: []byte{0, 0xff, 'k'}, Value: []byte{0xfe, 0},
			Headers: []events.Header{{Name: "h", Value: []byte{0, 1}}, {Name: "h", Value: nil}},
		},
	}.Message()
	require.NoError(t, h.store.Update(t.Context(), func(ctx context.Context, tx preferences.Tx) error { return tx.Emit(ctx, letter) }))
	relay(t, source(t, h.url), b, quick())
	m := b.waitFor(t, 1)[0]
	require.Equal(t, "dead", m.Topic)
	require.Equal(t, []byte{0, 0xff, 'k'}, m.Key)
	require.Equal(t, []byte{0xfe, 0}, m.Value)
	require.Equal(t, []outbox.Header{{Name: "h", Value: []byte{0, 1}}, {Name: "h", Value: nil}}, m.Headers[:2])
	require.Equal(t, len(letter.Raw.Headers), len(m.Headers), "nothing is derived")
}

func TestRelayWorksOffABacklogAndResumesInside(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	const n = 3000
	_, err := conn.Exec(t.Context(), `do $$ begin for i in 1..`+fmt.Sprint(n)+` loop
		insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, payload)
		values (gen_random_uuid(), 'list', 'user-' || i % 7, i, 'preferences.updated', 'preferences.events', convert_to(i::text, 'UTF8'));
		if i % 10 = 0 then commit; end if; end loop; end $$`)
	require.NoError(t, err)
	cfg := quick()
	cfg.Batch, cfg.Ahead = 100, 250
	cfg.Patience = time.Microsecond // every partition counts as slow: the others run ahead as far as they may
	half := make(chan struct{})
	var taken atomic.Int64
	b.answers(func(outbox.Message) error {
		if taken.Add(1) > n/2 {
			select {
			case <-half:
			default:
				return outbox.ErrUnreachable
			}
		}
		return nil
	})
	first := relay(t, source(t, url), b, cfg)
	until(t, "half of it is out", func() bool { return first.Status().BrokerAway })
	first.stop()
	require.NotEmpty(t, scalar[*string](t, conn, "select window_snapshot from outbox_relays"))
	at := scalar[int64](t, conn, "select window_id from outbox_relays")
	require.Positive(t, at)
	s, err := postgres.OutboxStatus(t.Context(), url, "main")
	require.NoError(t, err)
	require.True(t, s.Backlog)
	require.EqualValues(t, n-at, s.Unpublished)
	put(t, conn, "user-0", n+1, nil)
	close(half)
	relay(t, source(t, url), b, cfg)
	log := b.wait(t, func(log []outbox.Message) bool { return len(log) > n && distinct(log) == n+1 })
	require.LessOrEqual(t, len(log), n+cfg.Ahead+cfg.Batch, "what was read past the oldest unpublished row may come twice, and nothing else")
	last := map[string]int64{}
	for i, m := range log {
		if i > 0 && m.ID <= last[string(m.Key)] {
			require.Greater(t, m.ID, at, "it had been noted as published")
			continue
		}
		last[string(m.Key)] = m.ID
	}
	require.Len(t, last, 7)
	until(t, "the window is over", func() bool {
		return scalar[bool](t, conn, "select window_snapshot is null and window_id is null and max_id = $1 from outbox_relays", n+1)
	})
}

// distinct counts the rows that messages are of.
func distinct(log []outbox.Message) int {
	seen := map[int64]struct{}{}
	for _, m := range log {
		seen[m.ID] = struct{}{}
	}
	return len(seen)
}

func TestLargeBacklogIsReadWithinTheLimit(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	value := make([]byte, 50_000)
	for i := range 20 {
		put(t, conn, "u", i, value)
	}
	cfg := quick()
	cfg.BatchBytes = 120_000
	relay(t, source(t, url), b, cfg)
	log := b.waitFor(t, 20)
	require.Len(t, log, 20)
	for i, m := range log {
		require.Equal(t, int64(i+1), m.ID)
		require.Len(t, m.Value, len(value))
	}
}

func TestLongTransactionHoldsUpNobody(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, slow, b := connect(t, url), connect(t, url), newBroker()
	other := connect(t, pgtest.NewEmpty(t)) // of another database on the same server
	relay(t, source(t, url), b, quick())
	for _, c := range []*pgx.Conn{slow, other} {
		_, err := c.Exec(t.Context(), "begin; select pg_current_xact_id()")
		require.NoError(t, err)
	}
	put(t, slow, "slow", 1, nil)
	for i := range 10 {
		put(t, conn, "quick", i, nil)
		b.waitFor(t, i+1)
	}
	_, err := slow.Exec(t.Context(), "commit")
	require.NoError(t, err)
	log := b.waitFor(t, 11)
	require.Equal(t, "slow", string(log[10].Key))
	require.Equal(t, int64(1), log[10].ID)
}

func TestPausedOutboxIsLeftAlone(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	r := relay(t, source(t, url), b, quick())
	put(t, conn, "u", 1, nil)
	b.waitFor(t, 1)
	until(t, "that is noted", func() bool { return scalar[int](t, conn, "select max_id from outbox_relays") == 1 })
	_, err := conn.Exec(t.Context(), "update outbox_relays set paused = true, epoch = epoch + 1")
	require.NoError(t, err)
	until(t, "it steps down", func() bool { return !r.Status().Leader && r.Status().Paused })
	put(t, conn, "u", 2, nil)
	until(t, "the backlog shows", func() bool { return r.Status().OldestAge > 0 })
	require.Len(t, b.messages(), 1)
	s, err := postgres.OutboxStatus(t.Context(), url, "main")
	require.NoError(t, err)
	require.True(t, s.Paused)
	require.EqualValues(t, 1, s.Unpublished)
	require.Positive(t, s.OldestAge)
	_, err = conn.Exec(t.Context(), "update outbox_relays set paused = false")
	require.NoError(t, err)
	b.waitFor(t, 2)
}

func TestPublishedRowsArePruned(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	cfg := quick()
	cfg.Retention = time.Hour
	for i := range 3 {
		put(t, conn, "u", i, nil)
	}
	_, err := conn.Exec(t.Context(), "update outbox set created_at = now() - interval '2 hours' where aggregate_seq < 2")
	require.NoError(t, err)
	relay(t, source(t, url), b, cfg)
	until(t, "the old ones are gone", func() bool { return scalar[int](t, conn, "select count(*) from outbox") == 1 })
	require.Len(t, b.messages(), 3)
	require.Equal(t, 2, scalar[int](t, conn, "select aggregate_seq from outbox"))
}

func TestUnpublishedRowsAreNeverPruned(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn := connect(t, url)
	src := source(t, url)
	term, err := src.Claim(t.Context(), "me", time.Minute)
	require.NoError(t, err)
	put(t, conn, "u", 1, nil)
	n, err := src.Prune(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Zero(t, n)
	c, _ := term.Start()
	publish := func() {
		round, err := term.Round(t.Context(), c, outbox.Limit{Rows: 10, Bytes: 1000})
		require.NoError(t, err)
		c = outbox.Cursor{Snapshot: round.Snapshot}
		_, err = term.Save(t.Context(), c, time.Minute)
		require.NoError(t, err)
	}
	publish()
	_, err = conn.Exec(t.Context(), "insert into outbox_relays (name) values ('another')")
	require.NoError(t, err)
	n, err = src.Prune(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Zero(t, n, "another relay has not published it")
	_, err = conn.Exec(t.Context(), "delete from outbox_relays where name = 'another'")
	require.NoError(t, err)
	until(t, "no older transaction runs on the server", func() bool {
		publish()
		n, err = src.Prune(t.Context(), 0, 100)
		require.NoError(t, err)
		return n == 1
	})
}

func TestStaleTermChangesNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn := connect(t, url)
	put(t, conn, "u", 1, nil)
	old, err := source(t, url).Claim(t.Context(), "old", time.Minute)
	require.NoError(t, err)
	_, err = source(t, url).Claim(t.Context(), "new", time.Minute)
	require.ErrorIs(t, err, outbox.ErrHeld)
	_, err = conn.Exec(t.Context(), "update outbox_relays set expires_at = 'epoch'")
	require.NoError(t, err)
	_, err = source(t, url).Claim(t.Context(), "new", time.Minute)
	require.NoError(t, err)
	c, _ := old.Start()
	_, err = old.Save(t.Context(), c, time.Minute)
	require.ErrorIs(t, err, outbox.ErrFenced)
	require.ErrorIs(t, old.Release(t.Context(), c), outbox.ErrFenced)
	round, err := old.Round(t.Context(), c, outbox.Limit{Rows: 10, Bytes: 1000})
	require.NoError(t, err)
	err = old.Quarantine(t.Context(), []outbox.Exile{{Place: round.Rows[0].Place, Reason: outbox.ReasonRefused, Error: "no"}})
	require.ErrorIs(t, err, outbox.ErrFenced)
	require.Equal(t, 1, scalar[int](t, conn, "select count(*) from outbox"))
	require.Equal(t, "new", scalar[string](t, conn, "select owner from outbox_relays"))
}

func TestNotifierWakesRelaysElsewhere(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	cfg := quick()
	cfg.Poll = time.Hour // only a notification can wake it
	r := relay(t, source(t, url), b, cfg)
	n, err := postgres.NewNotifier(url, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	until(t, "it leads and listens", func() bool {
		return r.Status().Leader && scalar[bool](t, conn, `select exists (select from pg_stat_activity
			where datname = current_database() and application_name = 'prefsd relay listener' and query ilike 'listen%' and state = 'idle')`)
	})
	for i := range 20 {
		put(t, conn, "u", i, nil)
		n.Poke()
		b.waitFor(t, i+1)
	}
	_, err = conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and application_name = 'prefsd notifier'`)
	require.NoError(t, err)
	put(t, conn, "u", 20, nil)
	until(t, "it connects again", func() bool { n.Poke(); return len(b.messages()) == 21 })
	cancel()
	require.NoError(t, <-ended)
}

func TestStatusBeforeTheFirstRelay(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	put(t, connect(t, url), "u", 1, nil)
	s, err := postgres.OutboxStatus(t.Context(), url, "main")
	require.NoError(t, err)
	require.Positive(t, s.OldestAge)
	s.OldestAge = 0
	require.Equal(t, postgres.OutboxState{Unpublished: 1}, s)
	_, err = postgres.OutboxStatus(t.Context(), "postgres://u:geheim@%zz", "main")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "geheim")
}
