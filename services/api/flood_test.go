package api_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/services/api"
	"github.com/prefsd/prefsd/services/api/middleware"
)

// toll counts requests that are done.
type toll struct{ done, served, refused atomic.Int64 }

func (c *toll) record(s middleware.Sample) {
	switch s.Status {
	case http.StatusOK:
		c.served.Add(1)
	case http.StatusServiceUnavailable:
		c.refused.Add(1)
	}
	c.done.Add(1)
}

// flooded is the same world behind a limiter that can be looked into, counting
// the requests that are done.
func (w *world) flooded(l api.Limits) (*world, *api.Limiter, *toll) {
	w.Helper()
	limiter, done := api.NewLimiter(l), &toll{}
	other := *w
	other.url = serve(w.T, api.New(api.Options{
		Preferences: w.prefs, Verifier: verifier(w.T), Log: slog.New(slog.NewJSONHandler(w.logs, nil)),
		Timeout: 10 * time.Second, Limiter: limiter, Record: done.record,
	}))
	return &other, limiter, done
}

// saveHead is how a save of so many bytes begins.
func saveHead(token string, length int) string {
	return fmt.Sprintf("PUT /preferences:batchReplace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", token, length)
}

// heap is what lives after a collection.
func heap() int64 {
	runtime.GC() // twice, because pools give up what they have only then
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAFloodOfLargeBodiesFillsOnlyItsRoom: callers who send nearly all of a large
// body and then nothing hold what there is for bodies, and no more; the next are
// refused at once, and whoever sends an ordinary body does not notice.
func TestAFloodOfLargeBodiesFillsOnlyItsRoom(t *testing.T) {
	const callers, room = 48, 8 << 20
	limits := generous
	limits.Bodies = room
	w, limiter, _ := beginAt(t, pgtest.New(t)).flooded(limits) // alone, so that the heap is its own
	content := `{"domain":"accounts","preferences":[` + strings.Repeat(" ", maxBody-len(`{"domain":"accounts","preferences":[]}`)) + `]}`
	require.Len(t, content, maxBody)
	before := heap()
	conns, refused := make([]net.Conn, callers), make(chan string, callers)
	var wg sync.WaitGroup
	for i := range conns {
		conns[i] = dial(t, w.url)
		head := saveHead(token(t, fmt.Sprintf("flood-%d", i)), maxBody) + "\r\n"
		wg.Go(func() {
			// A refused caller's bytes have nowhere to go, which is no failure.
			_, _ = io.WriteString(conns[i], head+content[:maxBody-1])
			answer := make([]byte, len("HTTP/1.1 503"))
			n, _ := io.ReadFull(conns[i], answer)
			refused <- string(answer[:n])
		})
	}
	require.Eventually(t, func() bool { return limiter.BodyBytes() == room && len(refused) == callers-room/maxBody }, patience, 5*time.Millisecond)
	grown := heap() - before
	require.Less(t, grown, int64(2*room+callers*128<<10), "what is held is bounded")
	t.Logf("%d callers with 1 MiB each hold %d KiB", callers, grown>>10)

	bob := w.as("bob")
	bob.save("a", "b")
	require.Equal(t, []string{"a:1", "b:2"}, bob.read().shown())
	large := bob.replace(body(many(900)...))
	large.fails(http.StatusServiceUnavailable, "UNAVAILABLE")
	require.Equal(t, "2", large.Header.Get("Retry-After"))
	require.True(t, large.Close, "the connection is closed, because nobody reads the rest")

	for _, c := range conns {
		_, _ = io.WriteString(c, content[maxBody-1:])
	}
	wg.Wait()
	close(refused)
	served := 0
	for status := range refused {
		if status == "HTTP/1.1 200" {
			served++
		}
	}
	require.Equal(t, room/maxBody, served, "those who had room are served at last")
	require.Eventually(t, func() bool { return limiter.BodyBytes() == 0 }, patience, time.Millisecond)
	bob.save(many(900)...)
}

// TestSlowCallersCostNextToNothing: hundreds of callers who dawdle over a header
// or a body that they announced as large take a connection each, and nobody's
// time.
func TestSlowCallersCostNextToNothing(t *testing.T) {
	const each = 200
	w, limiter, _ := beginAt(t, pgtest.New(t)).flooded(generous) // alone, so that the heap is its own
	bob := w.as("bob")
	bob.save("a")
	before := heap()
	for i := range each {
		_, err := io.WriteString(dial(t, w.url), "GET /preferences?domain=accounts HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		require.NoError(t, err)
		conn := dial(t, w.url)
		_, err = io.WriteString(conn, saveHead(token(t, fmt.Sprintf("slow-%d", i)), maxBody)+"Expect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))) // its body is being read
		require.NoError(t, err)
		_, err = io.WriteString(conn, "{")
		require.NoError(t, err)
	}
	grown := heap() - before
	require.Less(t, grown, int64(2*each*64<<10), "no room is made for what was announced")
	t.Logf("%d slow callers hold %d KiB", 2*each, grown>>10)
	require.Zero(t, limiter.BodyBytes())
	working, waiting := limiter.Working()
	require.Equal(t, [2]int{}, [2]int{working, waiting}, "who has not sent its request does not work")
	for range 50 {
		bob.send(http.MethodGet, accounts, "").is(http.StatusOK)
	}
	bob.save("a", "b")
}

// TestCallersWhoHangUpCostNoConnection: a thousand callers leave, half of them
// before their request is complete, half while it works or waits for its turn.
// The database keeps its connections, and the slots are free again.
func TestCallersWhoHangUpCostNoConnection(t *testing.T) {
	const waves, each = 25, 20
	w, limiter, done := begin(t).flooded(generous)
	for i := range each {
		w.as(leaver(i)).save("a")
	}
	var first []string
	for wave := range waves {
		leavers := w.leavers(body("a", fmt.Sprintf("b-%d", wave)), each)
		tx, err := w.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "select from preference_lists for update") // readers pass
		require.NoError(t, err)
		before := done.done.Load()
		w.hangUp(limiter, done, leavers)
		if wave == 0 {
			first = w.backends()
		}
		require.NoError(t, tx.Rollback())
		require.Eventually(t, func() bool { return done.done.Load() == before+2*each }, patience, 5*time.Millisecond)
	}
	working, waiting := limiter.Working()
	require.Equal(t, [2]int{}, [2]int{working, waiting})
	require.Zero(t, w.store.Stats().InUse)
	require.GreaterOrEqual(t, len(first), slots)
	require.Subset(t, w.backends(), first, "no connection was lost")
	// On a machine that is out of breath some waits for the lock are too long. Nothing else goes wrong.
	late := int(done.refused.Load())
	require.Equal(t, late, strings.Count(w.logs.String(), `"level":"ERROR"`))
	saved := w.count("select sum(version) - count(*) from preference_lists")
	require.EqualValues(t, done.served.Load()-each, saved, "who was served has saved, who waited has not")
	require.GreaterOrEqual(t, saved+late, waves*slots)
	require.Zero(t, w.count("select count(*) from preference_lists l where version > 1 and 2 <> (select count(*) from preferences p where p.list_id = l.list_id)"))
	w.as(leaver(0)).save("b")
}

// slots are those of users behind generous limits.
const slots = 10

func leaver(i int) string { return fmt.Sprintf("leaver-%d", i) }

// backends are the connections of the store, as the database knows them.
func (w *world) backends() []string {
	w.Helper()
	var text string
	require.NoError(w, w.db.QueryRowContext(w.Context(),
		"select string_agg(pid::text, ',') from pg_stat_activity where datname = current_database() and application_name = 'prefsd'").Scan(&text))
	return strings.Split(text, ",")
}

// leaving is somebody who sends a request and does not wait for the answer.
type leaving struct {
	net.Conn

	request string
}

// leavers are about to send saves, and as many that are not complete.
func (w *world) leavers(content string, each int) []leaving {
	w.Helper()
	out := make([]leaving, 2*each)
	for i := range out {
		sent := content
		if i >= each {
			sent = content[:len(content)/2]
		}
		out[i] = leaving{dial(w.T, w.url), saveHead(token(w.T, leaver(i%each)), len(content)) + "\r\n" + sent}
	}
	return out
}

// hangUp has them send their requests, and leave once those that can be are at
// work.
func (w *world) hangUp(limiter *api.Limiter, done *toll, leavers []leaving) {
	w.Helper()
	late, whole := done.refused.Load(), len(leavers)/2
	for _, l := range leavers {
		_, err := io.WriteString(l, l.request)
		require.NoError(w, err)
	}
	require.Eventually(w, func() bool {
		working, waiting := limiter.Working()
		return working == slots && working+waiting+int(done.refused.Load()-late) == whole
	}, patience, 5*time.Millisecond, "all whole requests have arrived")
	require.Eventually(w, func() bool {
		return w.count("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == slots
	}, patience, 5*time.Millisecond, "those with a slot wait for the lock")
	for _, l := range leavers {
		require.NoError(w, l.Close())
	}
	require.Eventually(w, func() bool { _, waiting := limiter.Working(); return waiting == 0 }, patience, 5*time.Millisecond, "who waited is gone at once")
}
