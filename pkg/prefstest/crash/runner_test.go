package crash

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// crowdPoints are where a runner is killed while it cleans the lists of a crowd:
// with the k-th chunk, and between a chunk and the place that is saved. Each goes
// on where the one before it has left off.
var crowdPoints = []string{"chunk.cleaned:2", "progress.saving:2", "progress.saved:2", "chunk.cleaned:2"}

// cleanPoints are where it is killed while it cleans two accounts: around the
// final part of each, and around the end.
var cleanPoints = []string{
	"operation.claimed", "state.recorded:2", "chunk.cleaned:2", "progress.saving", "clean.ending", "clean.ended", "update.committing:3",
	"update.committed:4", "clean.ending:2", "operation.ending",
}

// undoPoints are where it is killed while it takes cleans back.
var undoPoints = []string{
	"operation.claimed", "undo.begun", "state.lifted", "list.restored:7", "update.committing:9", "update.committed:5", "state.lifted:2", "operation.ending",
}

// stoppedPoints are where it is killed while it ends a clean that was cancelled
// half-way and has to be taken back.
var stoppedPoints = []string{"clean.ending", "operation.ending", "undo.begun", "list.restored:400"}

// TestARunnerThatIsKilledInACrowdGoesOn has one bulk clean killed between every
// two of its chunks.
func TestARunnerThatIsKilledInACrowdGoesOn(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	die := mortal(t, stage)
	g := newGroup(t, stage, "crowd", crowd)
	g.operation = stage.Clean(t, g.before[1])
	for _, point := range crowdPoints {
		die(point)
	}
	consumer := stage.Consumer(t, nil)
	o := stage.AwaitEnd(t, g.operation)
	require.Equal(t, [2]int64{crowd, crowd}, [2]int64{o.Cleaned.Deleted, o.Cleaned.AffectedUsers})
	report := stage.Settle(t)
	require.Equal(t, 1, report.Cleans)
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d lists, %d versions, %d events", len(crowdPoints), report.Lists, report.Changes, report.Events)
}

// TestARunnerThatIsKilledAnywhereGoesOn has bulk cleans killed at every step, and
// goes on to the end: each account leaves every list once.
func TestARunnerThatIsKilledAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	const members = 20
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	die := mortal(t, stage)
	var groups []*group
	for i, point := range cleanPoints {
		g := newGroup(t, stage, fmt.Sprint("group-", i), members)
		g.operation = stage.Clean(t, g.before[1], g.before[3])
		groups = append(groups, g)
		die(point)
	}
	consumer := stage.Consumer(t, nil)
	for _, g := range groups {
		o := stage.AwaitEnd(t, g.operation)
		require.Equal(t, preferences.Succeeded, o.State)
		require.Equal(t, [2]int64{2 * members, members}, [2]int64{o.Cleaned.Deleted, o.Cleaned.AffectedUsers})
		require.Equal(t, []string{"first", "middle", "last"}, stage.Entities(t, g.users[members-1]))
	}
	report := stage.Settle(t)
	require.Equal(t, 2*len(groups), report.Cleans)
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d lists, %d versions, %d events, %d cleans", len(cleanPoints), report.Lists, report.Changes, report.Events, report.Cleans)
}

// mortal starts a consumer that dies at a point, and buries it.
func mortal(t *testing.T, stage *prefstest.Stage) func(point string) {
	t.Helper()
	return func(point string) {
		t.Helper()
		stage.Crashing(t, "consumer", point).AwaitKill(t)
		stage.Bury(t)
		require.Empty(t, stage.Look(t).Findings, "after %s", point)
	}
}

// group is users whose lists one operation has cleaned.
type group struct {
	users, before []string
	operation     uuid.UUID
}

func newGroup(t *testing.T, stage *prefstest.Stage, name string, size int) *group {
	t.Helper()
	g := &group{before: []string{"first", "x-" + name, "middle", "y-" + name, "last"}}
	for n := range size {
		g.users = append(g.users, fmt.Sprintf("%s-%04d", name, n))
	}
	stage.Save(t, g.users, g.before...)
	return g
}

// TestAnUndoThatIsKilledAnywhereGoesOn has cleans taken back by runners that die
// at every step of it: every list ends as it began. One was cancelled half-way,
// by when its runner had died as well.
func TestAnUndoThatIsKilledAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	const members, many = 20, 1100
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	die := mortal(t, stage)
	half := newGroup(t, stage, "half", many)
	half.operation = stage.Clean(t, half.before[1], half.before[3])
	die("chunk.cleaned:2")
	require.EqualValues(t, 1000, stage.Operation(t, half.operation).Progress.Done)
	stage.Cancel(t, half.operation, true)
	for _, point := range stoppedPoints {
		die(point)
	}
	groups := []*group{half}
	for i := range undoPoints {
		g := newGroup(t, stage, fmt.Sprint("group-", i), members)
		g.operation = stage.Clean(t, g.before[1], g.before[3])
		groups = append(groups, g)
	}
	consumer := stage.Consumer(t, nil)
	for _, g := range groups {
		stage.AwaitEnd(t, g.operation)
	}
	require.Equal(t, []string{"first", "middle", "last"}, stage.Entities(t, groups[1].users[0]))
	require.Zero(t, consumer.Terminate(t))
	for i, point := range undoPoints {
		stage.Cancel(t, groups[i+1].operation, true)
		die(point)
	}
	consumer = stage.Consumer(t, nil)
	for _, g := range groups {
		require.Equal(t, preferences.Compensated, stage.AwaitEnd(t, g.operation).State)
		for _, user := range g.users {
			require.Equal(t, g.before, stage.Entities(t, user), user)
		}
	}
	report := stage.Settle(t)
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d lists, %d versions, %d events, %d cleans", 1+len(stoppedPoints)+len(undoPoints), report.Lists, report.Changes, report.Events, report.Cleans)
}
