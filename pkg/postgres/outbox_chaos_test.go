package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
)

func TestNoEventIsLostOrSwappedWhateverDies(t *testing.T) {
	t.Parallel()
	c := newChaos(t)
	c.run(t)
	require.Empty(t, c.violations(t))
}

// chaos is a crowd of writers on few lists, whose transactions commit out of
// order, take long or roll back, and two relays that are killed, restarted, cut
// off from the database, paused and made to lead at the same time meanwhile.
type chaos struct {
	url    string
	admin  *pgx.Conn
	broker *broker
}

const (
	chaosLists   = 8
	chaosWriters = 12
	chaosWrites  = 60 // of each writer
)

var errRolledBack = errors.New("rolled back on purpose")

func newChaos(t *testing.T) *chaos {
	t.Helper()
	url := pgtest.New(t)
	c := &chaos{url: url, admin: connect(t, url), broker: newBroker()}
	_, err := c.admin.Exec(t.Context(), `insert into preference_lists (user_id, domain)
		select 'user-' || n, 'accounts' from generate_series(0, $1::int - 1) n`, chaosLists)
	require.NoError(t, err)
	return c
}

func (c *chaos) run(t *testing.T) {
	t.Helper()
	conns := make([]*pgx.Conn, chaosWriters)
	for i := range conns {
		conns[i] = connect(t, c.url)
	}
	var writers sync.WaitGroup
	for _, conn := range conns {
		writers.Go(func() {
			for range chaosWrites {
				if err := write(t.Context(), conn); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	writing, done := context.WithCancel(t.Context())
	go func() {
		defer done()
		writers.Wait()
	}()
	c.torment(t, writing)
	calm := relay(t, source(t, c.url), c.broker, quick())
	c.settle(t)
	for range 3 {
		c.commitLate(t, conns[0], conns[1])
		c.commitOutOfNumber(t, conns[0], conns[1])
	}
	c.settle(t)
	calm.stop()
}

// commitLate commits a row after one with a higher id has gone out.
func (c *chaos) commitLate(t *testing.T, late, quick *pgx.Conn) {
	t.Helper()
	begin(t, late)
	bump(t, late, "user-0")
	id := bump(t, quick, "user-1")
	c.broker.soon(id)
	commit(t, late)
}

// commitOutOfNumber lets a transaction with a lower number write a later
// version.
func (c *chaos) commitOutOfNumber(t *testing.T, late, quick *pgx.Conn) {
	t.Helper()
	begin(t, late)
	_, err := late.Exec(t.Context(), "select pg_current_xact_id()")
	require.NoError(t, err)
	id := bump(t, quick, "user-2")
	c.broker.soon(id)
	bump(t, late, "user-2")
	commit(t, late)
}

func begin(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "begin")
	require.NoError(t, err)
}

func commit(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	_, err := conn.Exec(t.Context(), "commit")
	require.NoError(t, err)
}

// bump makes the next version of a list and writes its event.
func bump(t *testing.T, conn *pgx.Conn, user string) uuid.UUID {
	t.Helper()
	version := scalar[int](t, conn, "update preference_lists set version = version + 1 where user_id = $1 returning version", user)
	return put(t, conn, user, version, nil)
}

// write is one transaction of a writer. Half of them have their number before
// they wait for their list, so that numbers do not follow versions.
func write(ctx context.Context, conn *pgx.Conn) error {
	user := fmt.Sprint("user-", rand.N(chaosLists))
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if rand.N(2) == 0 {
			if _, err := tx.Exec(ctx, "select pg_current_xact_id(), pg_sleep($1)", nap(4, 3)); err != nil {
				return err
			}
		}
		var version int
		err := tx.QueryRow(ctx, "update preference_lists set version = version + 1 where user_id = $1 returning version", user).Scan(&version)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_sleep($1)", nap(5, 4)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertEvent, uuid.Must(uuid.NewV7()), user, version, []byte(fmt.Sprint(version))); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_sleep($1)", nap(4, 15)+nap(200, 400)); err != nil {
			return err
		}
		if rand.N(20) == 0 {
			return errRolledBack
		}
		return nil
	})
	if errors.Is(err, errRolledBack) {
		return nil
	}
	return err
}

// nap is, once in so many times, up to so many milliseconds, in seconds.
func nap(once, most int) float64 {
	if rand.N(once) != 0 {
		return 0
	}
	return rand.Float64() * float64(most) / 1000
}

// torment runs two relays and lets none of them in peace while ctx lives.
func (c *chaos) torment(t *testing.T, ctx context.Context) { //nolint:revive // the test comes first, as everywhere
	t.Helper()
	cfg := quick()
	cfg.Lease = 400 * time.Millisecond
	cfg.Batch = 10 // a few rows are a backlog
	cfg.Poll = 5 * time.Millisecond
	kills, cuts, forced := 0, 0, 0
	relays := [2]*victim{c.victim(t, cfg), c.victim(t, cfg)}
	for ctx.Err() == nil {
		select {
		case <-time.After(rand.N(150 * time.Millisecond)):
		case <-ctx.Done():
		}
		i := rand.N(len(relays))
		switch rand.N(6) {
		case 0:
			relays[i].kill()
			relays[i] = c.victim(t, cfg)
			kills++
		case 1:
			relays[i].stop()
			relays[i] = c.victim(t, cfg)
		case 2: // the other one may lead too, until this one finds out that its epoch is over
			_, err := c.admin.Exec(t.Context(), "update outbox_relays set expires_at = 'epoch'")
			require.NoError(t, err)
			forced++
		case 3:
			_, err := c.admin.Exec(t.Context(), "update outbox_relays set paused = not paused")
			require.NoError(t, err)
		default:
			_, err := c.admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and application_name like 'prefsd relay%' and random() < 0.5`)
			require.NoError(t, err)
			cuts++
		}
	}
	for _, v := range relays {
		v.kill()
	}
	_, err := c.admin.Exec(t.Context(), "update outbox_relays set paused = false")
	require.NoError(t, err)
	t.Logf("%d kills, %d cuts, %d times two leaders", kills, cuts, forced)
}

// settle waits until all that was committed has arrived, or nothing more comes.
func (c *chaos) settle(t *testing.T) {
	t.Helper()
	committed := scalar[int](t, c.admin, "select count(*) from outbox")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		c.broker.mu.Lock()
		changed, arrived := c.broker.changed, map[uuid.UUID]bool{}
		for _, m := range c.broker.log {
			arrived[m.EventID] = true
		}
		c.broker.mu.Unlock()
		if len(arrived) >= committed {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// violations compares what was committed with what arrived.
func (c *chaos) violations(t *testing.T) []string {
	t.Helper()
	type event struct {
		ID      int64
		EventID uuid.UUID
		Subject string
		Version int64
	}
	rows, err := c.admin.Query(t.Context(), "select id, event_id, aggregateid, aggregate_seq from outbox")
	require.NoError(t, err)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event])
	require.NoError(t, err)
	require.Greater(t, len(events), chaosWriters*chaosWrites/2, "the writers wrote")
	committed := map[uuid.UUID]event{}
	for _, e := range events {
		committed[e.EventID] = e
	}
	var out []string
	seen, last, repeated := map[uuid.UUID]bool{}, map[string]event{}, 0
	for _, m := range c.broker.messages() {
		e, ok := committed[m.EventID]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("event %d arrived and was never committed", m.ID))
		case seen[m.EventID]:
			repeated++
		case e.Version <= last[e.Subject].Version:
			out = append(out, fmt.Sprintf("version %d of %s came after version %d", e.Version, e.Subject, last[e.Subject].Version))
		default:
			last[e.Subject] = e
		}
		seen[m.EventID] = true
	}
	for _, e := range events {
		if !seen[e.EventID] {
			out = append(out, fmt.Sprintf("version %d of %s is lost", e.Version, e.Subject))
		}
	}
	t.Logf("%d events committed, %d deliveries repeated", len(events), repeated)
	return out
}

// victim is a relay that can be killed: from one moment to the next it neither
// writes nor publishes, and leaves its lease behind.
type victim struct {
	*running
	dead atomic.Bool
}

func (c *chaos) victim(t *testing.T, cfg outbox.Config) *victim {
	t.Helper()
	v := &victim{}
	src := &mortalSource{source(t, c.url), &v.dead}
	v.running = relay(t, src, mortalBroker{c.broker, &v.dead}, cfg)
	return v
}

func (v *victim) kill() {
	v.dead.Store(true)
	v.stop()
}

var errDead = errors.New("killed")

type mortalBroker struct {
	*broker
	dead *atomic.Bool
}

func (b mortalBroker) Publish(ctx context.Context, msgs []outbox.Message) []error {
	var errs []error
	for _, m := range msgs {
		if b.dead.Load() {
			errs = append(errs, outbox.ErrUnreachable)
			continue
		}
		errs = append(errs, b.broker.Publish(ctx, []outbox.Message{m})...)
	}
	return errs
}

type mortalSource struct {
	*postgres.OutboxSource
	dead *atomic.Bool
}

func (s *mortalSource) Claim(ctx context.Context, owner string, lease time.Duration) (outbox.Term, error) {
	t, err := s.OutboxSource.Claim(ctx, owner, lease)
	if err != nil {
		return nil, err
	}
	return mortalTerm{t, s.dead}, nil
}

type mortalTerm struct {
	outbox.Term
	dead *atomic.Bool
}

func (t mortalTerm) Save(ctx context.Context, c outbox.Cursor, lease time.Duration) (outbox.Wishes, error) {
	if t.dead.Load() {
		return outbox.Wishes{}, errDead
	}
	return t.Term.Save(ctx, c, lease)
}

func (t mortalTerm) Release(ctx context.Context, c outbox.Cursor) error {
	if t.dead.Load() {
		return errDead
	}
	return t.Term.Release(ctx, c)
}
