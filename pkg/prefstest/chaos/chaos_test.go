// Package chaos kills processes while users save, accounts are deleted, and
// operators clean in bulk and take that back, and checks every promise
// afterwards.
package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

const (
	writers   = 4
	saves     = 250 // of each writer that are acknowledged
	users     = 24  // in all
	accounts  = 80
	deletions = 20
	bulks     = 10 // operations of an operator
	together  = 2  // accounts that one of them cleans
)

// seed repeats a run: SEED=n go test.
func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("SEED=%d repeats the choices of this run", n)
	return n
}

func account(n int) string { return fmt.Sprintf("acc-%03d", n) }

func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 0))
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	load := stage.StartLoad(t, api.URL, prefstest.LoadOptions{Writers: writers, Saves: saves, Users: users, Accounts: accounts, Seed: r.Uint64()})

	d := &disturber{stage: stage, r: r, load: load, api: api, consumer: consumer, operator: newOperator(t, stage, api.URL)}
	d.disturb(t)
	<-load.Done()
	require.False(t, t.Failed())

	d.operator.finish(t)
	report := stage.Settle(t)
	require.GreaterOrEqual(t, report.Changes, writers*saves, "the history holds every save that changed something")
	require.Positive(t, report.Lists)
	require.GreaterOrEqual(t, report.Cleans, deletions+together*len(d.operator.kept), "every deletion was announced")
	require.GreaterOrEqual(t, d.killed, 6)
	require.Equal(t, writers*saves, load.Check(t))
	d.operator.check(t)
	require.Zero(t, d.api.Terminate(t), "the api stops in order")
	require.Zero(t, d.consumer.Terminate(t), "the consumer stops in order")
	t.Logf("%d kills, %d lists, %d versions, %d events, %d cleans, %d operations kept, %d taken back",
		d.killed, report.Lists, report.Changes, report.Events, report.Cleans, len(d.operator.kept), len(d.operator.undone))
}

// disturber does what happens besides the saves.
type disturber struct {
	stage         *prefstest.Stage
	r             *rand.Rand
	load          *prefstest.Load
	api, consumer *prefstest.Service
	operator      *operator
	killed        int
}

// disturb deletes accounts, cleans in bulk and kills processes, spread over the
// saves, until the writers are done.
func (d *disturber) disturb(t *testing.T) {
	t.Helper()
	const kills = 8
	victims := d.r.Perm(accounts)[:deletions+bulks*together]
	for i := range deletions {
		d.load.Await(int64(writers * saves * i / (deletions + 1)))
		d.stage.Produce(t, prefstest.Deleted(fmt.Sprintf("evt-%d", i), account(victims[i]), time.Now()))
		if i%(deletions/bulks) == 0 {
			n := deletions + i/(deletions/bulks)*together
			d.operator.act(t, d.r, account(victims[n]), account(victims[n+1]))
		}
		if d.killed < kills && i*kills >= d.killed*deletions {
			d.killed++
			d.kill(t)
		}
	}
}

// kill kills one of the two and starts it anew.
func (d *disturber) kill(t *testing.T) {
	t.Helper()
	if d.r.IntN(3) > 0 {
		d.consumer.Kill()
		d.consumer = d.stage.Consumer(t, d.consumer)
		return
	}
	d.load.Excuse(true)
	d.api.Kill()
	d.api = d.stage.API(t, d.api)
	d.load.Excuse(false)
}
