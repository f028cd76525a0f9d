package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// relayPoints are where a relay is killed while it has much to publish. The
// first ones find a backlog of more rows than a round holds.
var relayPoints = []string{
	"relay.claimed", "round.read", "page.read", "page.read:2", "events.published", "answer.taken", "position.saving", "position.saved:2",
	"events.publishing:2", "answer.taken:4", "position.saving:3", "position.saved:4", "round.read:3",
}

// stopPoints are where it is killed while it stops in peace.
var stopPoints = []string{"lease.releasing", "lease.released"}

// TestARelayThatIsKilledAnywhereGoesOn has one relay after the other die: between
// reading and publishing, between the broker's answer and the position that is
// saved, around its lease, in the middle of a backlog and behind it.
func TestARelayThatIsKilledAnywhereGoesOn(t *testing.T) {
	t.Parallel()
	const backlog, some = 2300, 30
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	saved := 0
	save := func(n int) {
		users := make([]string, n)
		for i := range users {
			users[i] = fmt.Sprintf("user-%05d", saved+i)
		}
		stage.Save(t, users, account(0), account(1))
		saved += n
	}
	save(backlog)
	for i, point := range slices.Concat(relayPoints, stopPoints) {
		save(some)
		api := stage.Crashing(t, "api", point)
		if slices.Contains(stopPoints, point) {
			prefstest.Eventually(t, prefstest.Patience, "the relay leads", func() bool { return strings.Contains(api.Log(), `"relay leads"`) })
			api.Terminate(t)
		}
		// How many deliveries and saved positions a backlog takes is a matter of
		// timing: what is still saved meanwhile brings the relay to any of them.
		prefstest.Eventually(t, prefstest.Patience, "the relay gets to "+point, func() bool {
			if !api.Ended() {
				save(1)
			}
			return api.Ended()
		})
		api.AwaitKill(t)
		stage.Bury(t)
		require.Empty(t, stage.Look(t).Findings, "after death %d, at %s", i, point)
	}
	api := stage.API(t, nil)
	report := stage.Settle(t)
	require.Equal(t, saved, report.Events, "every save has its event")
	require.Zero(t, api.Terminate(t))
	t.Logf("%d kills, %d events, %d records", len(relayPoints)+len(stopPoints), report.Events, len(stage.Topic(t, prefstest.Updates)))
}
