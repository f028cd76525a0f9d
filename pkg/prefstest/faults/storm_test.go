package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// TestAStormOfJoinsAndLeavesLosesNothing has twelve consumers join and leave as
// fast as they start, in peace and killed, while accounts are deleted.
func TestAStormOfJoinsAndLeavesLosesNothing(t *testing.T) {
	t.Parallel()
	const guests, atOnce, each = 12, 3, 4
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Save(t, []string{"alice", "bob"}, accounts(guests*each+1)...)
	stays := stage.Consumer(t, nil)
	began := time.Now()
	var here []*prefstest.Service
	leave := func(n int) {
		if n%4 == 3 {
			here[0].Kill()
		} else {
			require.Zero(t, here[0].Terminate(t))
		}
		here = here[1:]
	}
	for n := range guests {
		for i := range each {
			stage.Produce(t, prefstest.Deleted(fmt.Sprintf("e-%d-%d", n, i), account(n*each+i), time.Now()))
		}
		here = append(here, stage.Consumer(t, nil))
		if len(here) == atOnce {
			leave(n)
		}
	}
	for n := range atOnce - 1 {
		leave(n)
	}
	storm := time.Since(began)
	report := stage.Settle(t)
	require.Equal(t, guests*each, report.Cleans)
	require.Equal(t, []string{account(guests * each)}, stage.Entities(t, "alice"))
	require.Empty(t, stage.Topic(t, prefstest.DeadLetters))
	require.Zero(t, stays.Terminate(t))
	t.Logf("%d joined and left in %s", guests, storm.Round(time.Second))
}
