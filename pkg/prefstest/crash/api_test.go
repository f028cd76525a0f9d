package crash

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// death is a request during which an api dies at a point. It is made by the
// first of two users who list the same two accounts, or by an operator.
type death struct {
	point    string
	method   string
	path     string
	system   bool
	body     func(x, y string) any
	status   int
	versions int // that it makes, of all lists
}

type object = map[string]any

func replaces(x, y string) any  { return prefstest.Order(y, x) }
func creates(x, _ string) any   { return object{"domain": "accounts", "entityId": x + "-more"} }
func cleansOne(x, _ string) any { return object{"entityType": "account", "entityId": x} }
func cleansTwo(x, y string) any {
	return object{"entities": []any{cleansOne(x, ""), cleansOne(y, "")}}
}

const (
	replacePath = "/preferences:batchReplace"
	createPath  = "/preferences"
	cleanPath   = "/preferences:cleanOrphaned"
	bulkPath    = "/preferences:bulkCleanOrphaned"
)

// uncommitted is behind the effect of a cancellation, and before its commit.
const uncommitted = "operation.stopped"

// apiDeaths are in the order of the steps of each kind of request. The updates
// of a clean are the one that opens it, one that looks at it, and one for each
// entity.
var apiDeaths = []death{
	{"write.committing", http.MethodPut, replacePath, false, replaces, http.StatusOK, 1},
	{"write.committed", http.MethodPut, replacePath, false, replaces, http.StatusOK, 1},
	{"write.committing", http.MethodPost, createPath, false, creates, http.StatusCreated, 1},
	{"write.committed", http.MethodPost, createPath, false, creates, http.StatusCreated, 1},
	{"update.committing", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"update.committed", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"state.recorded", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"chunk.cleaned", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"operation.ending", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"update.committed:3", http.MethodPost, cleanPath, true, cleansOne, http.StatusOK, 2},
	{"progress.saving", http.MethodPost, bulkPath, true, cleansTwo, http.StatusOK, 4},
	{"state.recorded:2", http.MethodPost, bulkPath, true, cleansTwo, http.StatusOK, 4},
	{uncommitted, http.MethodPost, "/operations/%s/cancel", true, nil, http.StatusAccepted, 0},
	{"update.committed", http.MethodPost, "/operations/%s/cancel", true, nil, http.StatusAccepted, 0},
	{"update.committed", http.MethodPost, "/operations/%s/undo", true, nil, http.StatusAccepted, 0},
	{"update.committed", http.MethodPost, "/operations:verify", true, nil, http.StatusAccepted, 0},
}

// patient is a request that is repeated with its key.
type patient struct {
	death

	caller *prefstest.Caller
	key    string
	with   any
}

func (p *patient) send(ctx context.Context) (prefstest.Answer, error) {
	return p.caller.Do(ctx, p.method, p.path, p.with, "Idempotency-Key", p.key)
}

// TestARequestDuringWhichTheAPIDiesIsDoneOnce has every kind of request repeated
// with its key, after the api has died with the first one: before its commit,
// after it, and at every step of a clean that it carried out itself.
func TestARequestDuringWhichTheAPIDiesIsDoneOnce(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stopped := stage.Clean(t, "nobody-lists-it")
	var all []*patient
	want := 0
	for i, d := range apiDeaths {
		users := []string{fmt.Sprintf("one-%02d", i), fmt.Sprintf("two-%02d", i)}
		x, y := fmt.Sprintf("x-%02d", i), fmt.Sprintf("y-%02d", i)
		stage.Save(t, users, x, y)
		want += len(users) + d.versions
		p := &patient{death: d, key: fmt.Sprintf(`"key-%d"`, i)}
		subject, scopes := users[0], []string(nil)
		if d.system {
			subject, scopes = "service", []string{auth.ScopeSystem}
		}
		p.path = strings.Replace(d.path, "%s", stopped.String(), 1)
		if d.body != nil {
			p.with = d.body(x, y)
		}
		api := stage.Crashing(t, "api", d.point)
		api.AwaitReady(t, api.AdminURL+"/readyz")
		p.caller = prefstest.NewCaller(api.URL, stage.Token(t, subject, scopes...))
		_, err := p.send(t.Context())
		require.Error(t, err, "%s at %s was answered", d.path, d.point)
		p.caller.Close()
		api.AwaitKill(t)
		require.Empty(t, stage.Look(t).Findings, "%s at %s", d.path, d.point)
		all = append(all, p)
	}
	stage.Bury(t)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	for _, p := range all {
		p.caller.Base = api.URL
		var answer prefstest.Answer
		prefstest.Eventually(t, prefstest.Patience, p.path+" is done", func() bool {
			var err error
			answer, err = p.send(t.Context())
			require.NoError(t, err)
			return answer.Status != http.StatusConflict || p.point == uncommitted
		})
		if p.point == uncommitted { // by then it may have stopped, which the answer says
			require.Contains(t, []int{p.status, http.StatusConflict}, answer.Status, "%s", answer.Body)
		} else {
			require.Equal(t, p.status, answer.Status, "%s at %s: %s", p.path, p.point, answer.Body)
		}
		p.caller.Close()
	}
	require.Equal(t, preferences.Compensated, stage.AwaitEnd(t, stopped).State)
	verified, _, err := stage.Store.Operations(t.Context(), preferences.OperationRange{Kind: preferences.KindVerify, Behind: preferences.OperationPosition{Time: time.Now().Add(time.Hour)}, Limit: 2})
	require.NoError(t, err)
	require.Len(t, verified, 1, "it was begun once")
	report := stage.Settle(t)
	require.Equal(t, want, report.Changes, "nothing was done twice")
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d kills, %d versions, %d cleans", len(apiDeaths), report.Changes, report.Cleans)
}
