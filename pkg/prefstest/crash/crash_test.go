// Package crash kills processes between every two of their steps, and checks
// every promise afterwards.
package crash

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

// consumerPoints are where a consumer is killed, in the order of the story. A
// number means the n-th time.
var consumerPoints = []string{
	"record.fetched", "state.recorded", "update.committing", "update.committed", "record.settled", "offsets.committing", "offsets.committed",
	"events.publishing", "events.published", "chunk.cleaned:2", "record.fetched:2", "state.recorded:2", "update.committing:3", "update.committed:3",
	"events.published:2", "chunk.cleaned:3",
}

// crowd is in so many lists that its clean takes three chunks.
const crowd = 2100

func account(n int) string { return fmt.Sprintf("acc-%03d", n) }

// TestAConsumerThatIsKilledAnywhereGoesOn has one consumer after the other die
// at its point. Each finds what the one before it has left, and new events: two
// deletions, one of an account that a crowd lists, a restoration, a deleted
// user, and something broken.
func TestAConsumerThatIsKilledAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	var all []string
	for i := range 3 * len(consumerPoints) {
		all = append(all, account(i))
	}
	stage.Save(t, []string{"alice", "bob"}, all...)
	var users, gone []string
	for i := range crowd {
		users = append(users, fmt.Sprintf("user-%04d", i))
	}
	var listed []string // one account for each death in the middle of a clean
	for i, point := range consumerPoints {
		if strings.HasPrefix(point, "chunk") {
			listed = append(listed, account(3*i))
		}
	}
	stage.Save(t, users, listed...)

	deletions := 0
	for i, point := range consumerPoints {
		at := time.Now()
		few, many, back := account(3*i+1), account(3*i), account(3*i+2)
		user := fmt.Sprintf("user-%04d", i)
		stage.Produce(t,
			prefstest.Deleted(fmt.Sprint("few-", i), few, at), prefstest.Deleted(fmt.Sprint("many-", i), many, at),
			prefstest.Deleted(fmt.Sprint("out-", i), back, at), restored(fmt.Sprint("back-", i), back, at.Add(time.Millisecond)),
			prefstest.UserDeleted(fmt.Sprint("user-", i), user, at), &kgo.Record{Topic: prefstest.AccountEvents, Key: []byte(few), Value: fmt.Appendf(nil, "broken %d", i)},
		)
		deletions += 3
		gone = append(gone, few, many)
		stage.Crashing(t, "consumer", point).AwaitKill(t)
		stage.Evict(t, prefstest.Group) // leases run out by themselves
		require.Empty(t, stage.Look(t).Findings, "after %s", point)
	}

	consumer := stage.Consumer(t, nil)
	report := stage.Settle(t)
	require.Equal(t, deletions, report.Cleans, "every deletion was announced, and none twice")
	require.Len(t, letters(t, stage), len(consumerPoints), "what is broken was set aside once")
	shown := stage.Entities(t, "alice")
	for _, a := range gone {
		require.NotContains(t, shown, a)
	}
	require.Empty(t, stage.Entities(t, "user-0000"), "an erased user has nothing")
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d lists, %d versions, %d events, %d cleans", len(consumerPoints), report.Lists, report.Changes, report.Events, report.Cleans)
}

// letters are the dead letters without repetitions: a relay that dies before it
// has noted what it published publishes it again, as it was. A record that was
// set aside twice would have failed at two times.
func letters(t *testing.T, stage *prefstest.Stage) []string {
	t.Helper()
	var out []string
	for _, r := range stage.Topic(t, prefstest.DeadLetters) {
		out = append(out, fmt.Sprintf("%s %s", r.Value, r.Headers))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func restored(id, account string, at time.Time) *kgo.Record {
	r := prefstest.Deleted(id, account, at)
	r.Value = []byte(strings.Replace(string(r.Value), "account.deleted", "account.restored", 1))
	return r
}
