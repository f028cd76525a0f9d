package lin

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

var (
	operations = flag.Int64("operations", usual, "how many operations each profile checks at least")
	runs       = flag.String("runs", filepath.Join(os.TempDir(), "prefsd-runs"), "where histories are kept that are refused")
	replay     = flag.String("replay", "", "the directory of a run whose histories are to be checked again")
)

// seed repeats the choices of a run: SEED=n go test.
func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("SEED=%d repeats the choices of this run", n)
	return n
}

func TestHistoriesAreThoseOfOneList(t *testing.T) {
	t.Parallel()
	n := seed(t)
	for _, p := range profiles {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(n, 0))
			began := time.Now()
			d := deploy(t, *operations, r)
			d.live(t, p, n)
			worked := time.Since(began)
			report := d.stage.Settle(t)
			all := d.run.histories(t, p.name, n)
			refused := check(t, all)
			keep(t, refused)

			c := &d.run.count
			t.Logf("%s: %s; %d troubles, %d lists, %d deletions and restorations, %d versions, %d cleans; %.0f s of work, %.0f s in all", p.name, c,
				d.troubles, len(all), len(d.run.owner.statements), report.Changes, report.Cleans, worked.Seconds(), time.Since(began).Seconds())
			require.Empty(t, refused, "histories are refused")
			require.GreaterOrEqual(t, c.operations.Load(), *operations)
			require.Positive(t, c.conflicts.Load(), "nobody was in anybody's way")
			require.Positive(t, c.absent.Load(), "nobody wanted what was deleted")
			require.Greater(t, float64(c.unknown.Load()), p.murk*float64(d.troubles), "too many outcomes were known")
			require.Positive(t, c.resolved.Load(), "no outcome was made known by its key")
			require.Equal(t, p.name != "plain", d.troubles > 0)
		})
	}
}

// check returns the histories that are refused.
func check(t *testing.T, all []History) (refused []History) {
	t.Helper()
	const atOnce = 2
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, h := range all {
		g.Go(func() error {
			err := h.Check()
			if errors.Is(err, ErrRefused) {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, h)
				return nil
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	return refused
}

// keep writes the first of them where they can be looked at.
func keep(t *testing.T, refused []History) {
	t.Helper()
	const enough = 10
	for _, h := range refused[:min(len(refused), enough)] {
		dir := filepath.Join(*runs, "lin-"+strconv.FormatUint(h.Seed, 10))
		require.NoError(t, h.Keep(dir))
		t.Errorf("%s is the history of no list; check it again with: make replay RUN=%s", h.Name, dir)
	}
}
