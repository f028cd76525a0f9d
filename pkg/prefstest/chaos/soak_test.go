package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// watched are what must not grow under a load that stays the same, and how much
// of it is no growth: a share of its median, or this much if that is more.
var watched = []struct {
	name  string
	unit  string
	share float64
	least float64
}{
	{"process_resident_memory_bytes", "bytes", 0.15, 8 << 20},
	{"process_open_fds", "descriptors", 0.1, 8},
	{"go_goroutines", "goroutines", 0.1, 8},
	{"preferences", "bytes", 0.25, 4 << 20},
	{"preference_lists", "bytes", 0.25, 4 << 20},
	{"outbox_relays", "bytes", 0.25, 4 << 20},
	{"outbox age", "seconds", 0, 2},
}

// TestSteadyLoad lets users save at the same pace for long, with a fault now and
// then that no process dies of. What a process holds, what tables that are
// rewritten take on disk, and how long events wait may not have a slope.
func TestSteadyLoad(t *testing.T) { //nolint:paralleltest // it is alone on the machine
	lasts := duration(t)
	const samples, mishaps, shortest = 120, 10, 10 * time.Minute
	require.GreaterOrEqual(t, lasts, shortest, "in less time only the filling of caches and heaps is seen")
	n := seed(t)
	w := newWorld(t, rand.New(rand.NewPCG(n, 0)))
	db, err := postgres.Plain(w.server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, s := range []string{"alter system set autovacuum_naptime = '5s'", "select pg_reload_conf()"} {
		_, err := db.ExecContext(t.Context(), s)
		require.NoError(t, err)
	}
	report := newReport(t, "soak", n)
	line := roundLine{Began: time.Now()}
	load := w.stage.StartLoad(t, w.api.URL, prefstest.LoadOptions{
		Writers: writers, Users: longUsers, Accounts: longList, Pause: 20 * time.Millisecond, Seed: w.r.Uint64(), Within: 2 * lasts,
	})
	seen := newSeries()
	work := newJob(w, 0, 0)
	for number := range samples {
		if number%(samples/mishaps) == samples/mishaps-1 {
			w.mishap(t, load, report, &line)
		}
		id := w.operator.clean(t, []string{account(w.r.IntN(longList)), account(w.r.IntN(longList))})
		w.operator.undo(t, id, "cancel?undo=true")
		work.cleans, work.undos = work.cleans+1, work.undos+1
		wait(t, time.Until(line.Began.Add(lasts*time.Duration(number+1)/samples)))
		seen.take(t, w, db)
	}
	line.Saves = load.Check(t)
	w.operator.finish(t)
	rest := time.Now()
	end := w.stage.Settle(t)
	line.Quiet, line.Lists, line.Changes, line.Events, line.Cleans = time.Since(rest), end.Lists, end.Changes, end.Events, end.Cleans
	report.add(line, work)
	report.notes = append(report.notes, seen.judge(t))
	require.Zero(t, w.api.Terminate(t), "the api stops in order")
	require.Zero(t, w.consumer.Terminate(t), "the consumer stops in order")
}

// mishap is a fault that no process dies of.
func (w *world) mishap(t *testing.T, load *prefstest.Load, report *report, line *roundLine) {
	t.Helper()
	for {
		f := faults[w.r.IntN(len(faults))]
		if f.about != processes {
			w.suffer(t, load, report, line, f)
			return
		}
	}
}

// series are what was seen of each thing that is watched.
type series struct {
	began  time.Time
	values map[string][]point
	names  []string // in the order in which they came
}

type point struct{ at, value float64 } // in seconds since the beginning

func newSeries() *series { return &series{began: time.Now(), values: map[string][]point{}} }

func (s *series) add(name string, value float64) {
	if s.values[name] == nil {
		s.names = append(s.names, name)
	}
	s.values[name] = append(s.values[name], point{time.Since(s.began).Seconds(), value})
}

// take looks at everything once.
func (s *series) take(t *testing.T, w *world, db *sql.DB) {
	t.Helper()
	for name, of := range map[string]*prefstest.Service{"api": w.api, "consumer": w.consumer} {
		caller := prefstest.NewCaller(of.AdminURL, "")
		answer, err := caller.Do(t.Context(), http.MethodGet, "/metrics", nil)
		caller.Close()
		require.NoError(t, err)
		for line := range strings.Lines(string(answer.Body)) {
			metric, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			if value, err := strconv.ParseFloat(text, 64); err == nil && (strings.HasPrefix(metric, "process_") || metric == "go_goroutines") {
				s.watch(metric, name, value)
			}
		}
	}
	for _, table := range []string{"preferences", "preference_lists", "outbox_relays"} {
		var bytes float64
		require.NoError(t, db.QueryRowContext(t.Context(), "select pg_total_relation_size($1::regclass)::float8", table).Scan(&bytes))
		s.watch(table, "table", bytes)
	}
	state, err := postgres.OutboxStatus(context.WithoutCancel(t.Context()), w.server.URL(), "main")
	require.NoError(t, err)
	s.watch("outbox age", "relay", state.OldestAge.Seconds())
}

func (s *series) watch(metric, of string, value float64) {
	for _, w := range watched {
		if w.name == metric {
			s.add(of+" "+metric, value)
		}
	}
}

// judge fails the test for every slope, and returns the table.
func (s *series) judge(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "## Slopes\n\nThe slope is the median of those between any two samples (Theil and Sen), so that neither single peaks nor a third of "+
		"bad samples move it; the first third of the time is left out, in which caches fill. Growth is the slope times the rest of the time.\n\n"+
		"| what | samples | median | growth | may be | |\n|---|--:|--:|--:|--:|---|\n")
	for _, name := range s.names {
		points := s.values[name]
		points = points[len(points)/3:]
		growth, median := slope(points)*(points[len(points)-1].at-points[0].at), middle(points)
		for _, w := range watched {
			if !strings.HasSuffix(name, " "+w.name) {
				continue
			}
			limit, verdict := max(w.least, w.share*median), "ok"
			if growth > limit {
				verdict = "**GROWS**"
				t.Errorf("%s grows by %.1f %s, and may by %.1f", name, growth, w.unit, limit)
			}
			fmt.Fprintf(&b, "| %s, %s | %d | %.1f | %.1f | %.1f | %s |\n", name, w.unit, len(points), median, growth, limit, verdict)
		}
	}
	return b.String()
}
