package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// cleanup is a bulk clean that an operator has called for.
type cleanup struct {
	id       uuid.UUID
	accounts []string
}

// operator cleans accounts in bulk by the api, and takes some of that back: at
// once, while it is under way, or later.
type operator struct {
	stage  *prefstest.Stage
	caller *prefstest.Caller
	calls  int
	kept   []cleanup
	undone []cleanup
}

func newOperator(t *testing.T, stage *prefstest.Stage, url string) *operator {
	t.Helper()
	o := &operator{stage: stage, caller: prefstest.NewCaller(url, stage.Token(t, "operator", auth.ScopeSystem))}
	t.Cleanup(o.caller.Close)
	return o
}

// act begins a clean, and decides what becomes of it and of an earlier one.
func (o *operator) act(t *testing.T, r *rand.Rand, accounts ...string) {
	t.Helper()
	c := o.clean(t, accounts)
	switch r.IntN(3) {
	case 0:
		o.undo(t, c, "cancel?undo=true")
	case 1:
		o.kept = append(o.kept, c)
		n := r.IntN(len(o.kept))
		o.undo(t, o.kept[n], "undo")
		o.kept = append(o.kept[:n], o.kept[n+1:]...)
	default:
		o.kept = append(o.kept, c)
	}
}

// clean sends the request, with a key, until it is taken: the api may be dead.
func (o *operator) clean(t *testing.T, accounts []string) cleanup {
	t.Helper()
	type object = map[string]any
	var entities []object
	for _, a := range accounts {
		entities = append(entities, object{"entityType": "account", "entityId": a})
	}
	o.calls++
	var op struct{ Name string }
	prefstest.Eventually(t, prefstest.Patience, "a bulk clean is taken", func() bool {
		answer, err := o.caller.Do(t.Context(), http.MethodPost, "/preferences:bulkCleanOrphaned", object{"entities": entities},
			"Idempotency-Key", fmt.Sprintf(`"bulk-%d"`, o.calls), "Prefer", "respond-async")
		if err != nil || answer.Status == http.StatusServiceUnavailable {
			return false
		}
		require.Equal(t, http.StatusAccepted, answer.Status, "%s", answer.Body)
		return answer.JSON(&op) == nil
	})
	id, err := uuid.Parse(strings.TrimPrefix(op.Name, "operations/"))
	require.NoError(t, err)
	return cleanup{id, accounts}
}

// undo asks for a clean to be taken back, until that is taken.
func (o *operator) undo(t *testing.T, c cleanup, how string) {
	t.Helper()
	prefstest.Eventually(t, prefstest.Patience, "an undo is taken", func() bool {
		answer, err := o.caller.Do(t.Context(), http.MethodPost, fmt.Sprintf("/operations/%s/%s", c.id, how), nil)
		if err != nil || answer.Status == http.StatusServiceUnavailable {
			return false
		}
		again := answer.Status == http.StatusConflict && o.stage.Operation(t, c.id).State == preferences.Compensated
		require.True(t, again || answer.Status < http.StatusMultipleChoices, "%d %s", answer.Status, answer.Body)
		return true
	})
	o.undone = append(o.undone, c)
}

// finish waits for all operations to end as they were meant to.
func (o *operator) finish(t *testing.T) {
	t.Helper()
	for _, c := range o.kept {
		require.Equal(t, preferences.Succeeded, o.stage.AwaitEnd(t, c.id).State)
	}
	for _, c := range o.undone {
		require.Equal(t, preferences.Compensated, o.stage.AwaitEnd(t, c.id).State)
	}
}

// check lists every account that was cleaned: those that were taken back can be.
func (o *operator) check(t *testing.T) {
	t.Helper()
	back, all := []string{}, []string{}
	for _, c := range o.undone {
		back = append(back, c.accounts...)
	}
	for _, c := range o.kept {
		all = append(all, c.accounts...)
	}
	o.stage.Save(t, []string{"late"}, append(all, back...)...)
	require.Equal(t, back, o.stage.Entities(t, "late"))
}
