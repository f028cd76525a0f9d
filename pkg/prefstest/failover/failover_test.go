// Package failover has the server of PostgreSQL that the binaries work with die
// for good, and a standby take over, while users save and accounts are deleted.
package failover

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/devpg"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

// within is how long nobody can save, at most, because of a failover.
const within = 10 * time.Second

// urlOf is the connection string of whichever server takes writes.
func urlOf(t *testing.T, servers ...*devpg.Server) string {
	t.Helper()
	var hosts []string
	u, err := url.Parse(servers[0].URL())
	require.NoError(t, err)
	for _, s := range servers {
		hosts = append(hosts, "127.0.0.1:"+strconv.Itoa(s.Port()))
	}
	u.Host = strings.Join(hosts, ",")
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return u.String()
}

// on is a pool of connections to one server.
func on(t *testing.T, s *devpg.Server) *sql.DB {
	t.Helper()
	db, err := postgres.Plain(s.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func do(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
}

// is says whether a condition holds on a server.
func is(t *testing.T, db *sql.DB, condition string) (holds bool) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "select coalesce(("+condition+"), false)").Scan(&holds))
	return holds
}

// awaits makes every commit of a server wait for the standby of that name.
func awaits(t *testing.T, db *sql.DB, standby string) {
	t.Helper()
	do(t, db, "alter system set synchronous_standby_names = '"+standby+"'", "select pg_reload_conf()")
	prefstest.Eventually(t, prefstest.Patience, standby+" is synchronous", func() bool {
		return is(t, db, "select sync_state = 'sync' and state = 'streaming' from pg_stat_replication where application_name = '"+standby+"'")
	})
}

// follow makes a standby follow another server than so far. What follows the one
// that takes over can never have more than that, and goes on following it.
func follow(t *testing.T, db *sql.DB, name string, server *devpg.Server) {
	t.Helper()
	other := on(t, server)
	do(t, db, "alter system set primary_conninfo = '"+server.URL()+"'", "select pg_reload_conf()")
	prefstest.Eventually(t, prefstest.Patience, name+" follows", func() bool {
		return is(t, other, "select state = 'streaming' from pg_stat_replication where application_name = '"+name+"'")
	})
}

// takeOver kills the server in charge and promotes another one. It returns how
// long nobody could save.
func takeOver(t *testing.T, load *prefstest.Load, api *prefstest.Service, from, to *devpg.Server) time.Duration {
	t.Helper()
	load.Excuse(true)
	began := time.Now()
	require.NoError(t, from.Kill())
	require.NoError(t, to.Promote(t.Context()))
	load.Flow(t, 1)
	away := time.Since(began)
	api.AwaitReady(t, api.AdminURL+"/readyz")
	load.Flow(t, 20)
	load.Excuse(false)
	require.Less(t, away, within)
	return away
}

// remove announces that accounts are deleted, from one number up to another.
func remove(t *testing.T, stage *prefstest.Stage, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", n), account(n), time.Now()))
	}
}

func account(n int) string { return fmt.Sprintf("acc-%03d", n) }

func accounts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = account(i)
	}
	return out
}

// TestASynchronousStandbyTakesOverAndNothingIsLost has the primary die, and then
// the one that took over. A third server answers the reads of who knows a
// version.
func TestASynchronousStandbyTakesOverAndNothingIsLost(t *testing.T) {
	t.Parallel()
	const listed, each = 40, 8
	primary := pgtest.StartPrivate(t)
	near := pgtest.StartStandby(t, primary, "near")
	far := pgtest.StartStandby(t, primary, "far")
	follow(t, on(t, far), "far", near)
	awaits(t, on(t, primary), "near")
	stage := prefstest.NewStageAt(t, urlOf(t, primary, near, far), kafkatest.InProcess(t))
	stage.Env = []string{"PREFS_DATABASE_REPLICA_URL=" + far.URL()}
	stage.Save(t, []string{"alice", "bob"}, accounts(listed)...)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	load := stage.StartLoad(t, api.URL, prefstest.LoadOptions{Writers: 3, Users: 12, Accounts: listed})
	reads := readOwnWrites(t, stage, api.URL)
	load.Flow(t, 40)

	remove(t, stage, 0, each)
	first := takeOver(t, load, api, primary, near)
	awaits(t, on(t, near), "far")
	remove(t, stage, each, 2*each)
	load.Flow(t, 20)
	second := takeOver(t, load, api, near, far)
	remove(t, stage, 2*each, 3*each)
	load.Flow(t, 40)

	read := reads()
	saves := load.Check(t)
	report := stage.Settle(t)
	require.Equal(t, 3*each, report.Cleans)
	require.Equal(t, accounts(listed)[3*each:], stage.Entities(t, "alice"))
	require.Empty(t, stage.Topic(t, prefstest.DeadLetters), "a failover is no record's fault")
	require.Zero(t, missed(t, api, consumer), "nobody misses a commit")
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d saves, none lost; %d reads of a version; nobody could save for %s and %s", saves, read,
		first.Round(time.Millisecond), second.Round(time.Millisecond))
}

// readOwnWrites has a user save, and read what was saved by its version, until
// the function is called that it returns. That one says how often.
func readOwnWrites(t *testing.T, stage *prefstest.Stage, base string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	caller := prefstest.NewCaller(base, stage.Token(t, "reader"))
	go func() {
		n := 0
		defer func() { ended <- n }()
		for turn := 0; ctx.Err() == nil; turn++ {
			order := []string{"mine-" + strconv.Itoa(turn%2), "mine-" + strconv.Itoa(1-turn%2)}
			answer, err := caller.Do(ctx, http.MethodPut, "/preferences:batchReplace", prefstest.Order(order...))
			var saved, read prefstest.List
			if err != nil || answer.Status != http.StatusOK || answer.JSON(&saved) != nil {
				continue // the writers of the load judge the answers
			}
			answer, err = caller.Do(ctx, http.MethodGet, "/preferences?domain=accounts&minVersion="+strconv.FormatInt(saved.Version, 10), nil)
			if err != nil || answer.Status == http.StatusServiceUnavailable {
				continue
			}
			if answer.Status != http.StatusOK || answer.JSON(&read) != nil || read.Version != saved.Version || fmt.Sprint(read.Entities()) != fmt.Sprint(order) {
				t.Errorf("version %d was read as %d: %s", saved.Version, answer.Status, answer.Body)
				return
			}
			n++
		}
	}()
	return func() int {
		cancel()
		defer caller.Close()
		return <-ended
	}
}

// missed is how often a relay has found that commits are gone.
func missed(t *testing.T, services ...*prefstest.Service) (n int) {
	t.Helper()
	for _, s := range services {
		caller := prefstest.NewCaller(s.AdminURL, "")
		answer, err := caller.Do(t.Context(), http.MethodGet, "/metrics", nil)
		caller.Close()
		require.NoError(t, err)
		_, rest, found := strings.Cut(string(answer.Body), "\nprefs_relay_commits_lost_total ")
		require.True(t, found)
		value, _, _ := strings.Cut(rest, "\n")
		times, err := strconv.Atoi(value)
		require.NoError(t, err)
		n += times
	}
	return n
}
