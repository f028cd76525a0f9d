package faults

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// TestClocksThatAreADayOffLoseNothing sets the clocks of api and consumer a day
// and more ahead and back, against each other's and PostgreSQL's, while users
// save, accounts are deleted and cleaned; then both are killed, and others with
// right clocks take their work over. Events are no poison, nobody waits for a
// lease that ends tomorrow, and an Idempotency-Key is neither forgotten nor kept
// for too long.
func TestClocksThatAreADayOffLoseNothing(t *testing.T) {
	t.Parallel()
	const off, listed, each = 30 * time.Hour, 40, 4 // more than a key is kept and a token lives
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	fresh := stage.Token(t, "alice")
	stage.Lenient = 2 * off
	stage.Save(t, []string{"carol"}, accounts(listed)...)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	gone := 0
	for _, day := range []struct {
		name          string
		api, consumer time.Duration
	}{
		{"the api's is ahead, the consumer's behind", off, -off},
		{"the api's is behind, the consumer's ahead", -off, off},
	} {
		load := stage.StartLoad(t, api.URL, prefstest.LoadOptions{Writers: 2, Users: 6, Accounts: listed})
		load.Flow(t, 10)
		once := prefstest.NewCaller(api.URL, stage.Token(t, "bob"))
		t.Cleanup(once.Close)
		save := func() prefstest.Answer {
			answer, err := once.Do(t.Context(), http.MethodPut, "/preferences:batchReplace", prefstest.Order(account(listed-1-gone)),
				"Idempotency-Key", fmt.Sprintf(`"key-%d"`, gone))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
			return answer
		}
		first := save()

		api.SetClock(t, day.api)
		consumer.SetClock(t, day.consumer)
		load.Flow(t, 20)
		require.JSONEq(t, string(first.Body), string(save().Body), day.name)
		refusesFreshTokens(t, api, fresh)
		for i := range each - 1 {
			stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", gone+i), account(gone+i), time.Now()))
		}
		stage.AwaitEnd(t, stage.Clean(t, account(gone+each-1)))
		gone += each
		prefstest.Eventually(t, prefstest.Patience, day.name+": all are cleaned", func() bool {
			return len(stage.Topic(t, prefstest.Cleaned)) >= gone
		})
		load.Flow(t, 10)
		saves := load.Check(t)

		api.Kill()
		consumer.Kill()
		api, consumer = stage.API(t, api), stage.Consumer(t, consumer)
		report := stage.Settle(t)
		require.Equal(t, gone, report.Cleans, day.name)
		require.Empty(t, stage.Topic(t, prefstest.DeadLetters), "our clock makes no poison")
		require.Equal(t, accounts(listed)[gone:], stage.Entities(t, "carol"), day.name)
		t.Logf("%s: %d saves", day.name, saves)
	}
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
}

// refusesFreshTokens: the lifetime of tokens alone is judged by the api's own
// clock. Who calls gets an answer that says so.
func refusesFreshTokens(t *testing.T, api *prefstest.Service, token string) {
	t.Helper()
	caller := prefstest.NewCaller(api.URL, token)
	defer caller.Close()
	answer, err := caller.Do(t.Context(), http.MethodGet, "/preferences", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, answer.Status)
	require.Regexp(t, "expired|issued in the future", string(answer.Body))
}
