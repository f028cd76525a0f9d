package crash

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// firstRun is how many deaths the first whole comparison takes.
const firstRun = 8

// reconcilePoints are where a consumer is killed while it compares lists with
// their owner. After update.committed a run is over, and another one follows: up
// to the first of them nothing is missing for the second time.
var reconcilePoints = []string{
	"schedule.ticked", "owner.asked", "owner.asked:2", "state.recorded", "findings.settling", "sightings.noted", "update.committing", "update.committed",
	"owner.asked", "orphans.opened", "update.committing", "update.committed",
}

// TestAComparisonThatIsKilledAnywhereGoesOn has the owner miss some accounts, and
// have one that was deleted here. Whatever dies, an account is missed by two
// whole runs before it leaves, each leaves once, and no other does.
func TestAComparisonThatIsKilledAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	const accounts, lost, deleted = 30, 5, 7
	owner := prefstest.NewOwner(t)
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Env = append(owner.Env(), "PREFS_RECONCILE_SCHEDULE=* * * * *")
	var listed []string
	for i := range accounts {
		listed = append(listed, account(i))
	}
	gone, left := listed[:lost], slices.Concat(listed[lost:deleted], listed[deleted+1:])
	users := []string{"alice", "bob", "carol"}
	stage.Save(t, users, listed...)
	stage.Produce(t, prefstest.Deleted("e1", account(deleted), time.Now()))
	consumer := stage.Consumer(t, nil)
	stage.Settle(t)
	require.Zero(t, consumer.Terminate(t))

	owner.Lose(gone...)
	stage.Overdue(t, string(preferences.KindReconcile))
	for i, point := range reconcilePoints {
		victim := stage.Crashing(t, "consumer", point)
		prefstest.Eventually(t, prefstest.Patience, "a consumer dies at "+point, func() bool {
			if i > 0 {
				stage.Reconcile(t) // another one, if an owner that was slow has ended the last
			}
			return victim.Ended()
		})
		victim.AwaitKill(t)
		stage.Bury(t)
		require.Empty(t, stage.Look(t).Findings, "after death %d, at %s", i, point)
		if i < firstRun {
			require.Subset(t, stage.Entities(t, "alice"), gone, "nobody has missed them twice")
		}
	}
	consumer = stage.Consumer(t, nil)
	stage.Settle(t)
	stage.AwaitEnd(t, stage.Reconcile(t))
	report := stage.Settle(t)
	require.Equal(t, 1+lost, report.Cleans, "each left once")
	for _, user := range users {
		require.Equal(t, left, stage.Entities(t, user))
	}
	stage.Save(t, []string{"dave"}, account(deleted), gone[0])
	require.Equal(t, []string{account(deleted)}, stage.Entities(t, "dave"), "what the owner has may be listed again")
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d accounts asked about, %d cleans", len(reconcilePoints), accounts, report.Cleans)
}
