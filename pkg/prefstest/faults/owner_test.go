package faults

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// says is an owner that answers everything with one text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, text)
	}
}

// ill are the ways in which the owner of accounts is not well.
func ill(owner *prefstest.Owner) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"500":          func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"empty":        says(""),
		"empty object": says("{}"),
		"names nobody": says(`{"accounts":[],"notFound":[]}`),
		"truncated": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000") // and less comes
			owner.Answer(w, r)
		},
		"knows nobody any more": func(w http.ResponseWriter, r *http.Request) {
			(&prefstest.Owner{}).Disown(w, r)
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
}

// TestAnOwnerThatIsNotWellRemovesNothing: nothing leaves a list because the
// account service is down, slow, or says less or more than it can know. Once it
// is well, what it has lost goes, and nothing else.
func TestAnOwnerThatIsNotWellRemovesNothing(t *testing.T) {
	t.Parallel()
	const listed, lost = 40, 3
	owner := prefstest.NewOwner(t)
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.Env = owner.Env()
	stage.Save(t, []string{"alice", "bob"}, accounts(listed)...)
	owner.Lose(accounts(lost)...)
	for name, mood := range ill(owner) {
		consumer := stage.Consumer(t, nil) // another one each time: what it knows of the owner goes with it
		owner.Behave(mood)
		runs := 2
		if name == "slow" {
			runs = 1
		}
		for range runs {
			o := stage.AwaitEnd(t, stage.Reconcile(t))
			require.Equal(t, preferences.Failed, o.State, name)
			require.Regexp(t, "OWNER_UNAVAILABLE|TOO_MANY_MISSING", string(o.Report), name)
		}
		require.Positive(t, owner.Hits(), name)
		require.Equal(t, accounts(listed), stage.Entities(t, "alice"), name)
		require.Zero(t, consumer.Terminate(t))
	}
	owner.Behave(nil)
	consumer := stage.Consumer(t, nil)
	require.Equal(t, preferences.Succeeded, stage.AwaitEnd(t, stage.Reconcile(t)).State)
	require.Equal(t, accounts(listed), stage.Entities(t, "alice"), "missed once")
	require.Equal(t, preferences.Succeeded, stage.AwaitEnd(t, stage.Reconcile(t)).State)
	report := stage.Settle(t)
	require.Equal(t, lost, report.Cleans)
	require.Equal(t, accounts(listed)[lost:], stage.Entities(t, "alice"))
	require.Zero(t, consumer.Terminate(t))
}
