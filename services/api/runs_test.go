package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/reconcile"
	"github.com/prefsd/prefsd/pkg/verify"
)

const (
	reconcilePath = "/operations:reconcile"
	verifyPath    = "/operations:verify"
)

// call is a call about an operation, which it answers.
func (c caller) call(path string, h ...string) (o operation) {
	c.Helper()
	res := c.send(http.MethodPost, path, "", h...).is(http.StatusAccepted)
	res.into(&o)
	require.Equal(c, o.path(), res.Header.Get("Location"))
	return o
}

// worker is what a consumer has for a kind of runs.
type worker interface {
	Run(ctx context.Context, h preferences.Held, progressed func()) error
}

// looks does what a consumer does about the run that is open.
func (w *world) looks(kind preferences.OperationKind, by worker) {
	w.Helper()
	held, found, err := w.store.Claim(w.Context(), "here", time.Minute, kind)
	require.NoError(w, err)
	require.True(w, found)
	require.NoError(w, by.Run(w.Context(), held, func() {}))
}

func TestAnOperatorHasTheListsComparedNow(t *testing.T) {
	directory := &owner{misses: []string{"gone"}}
	w := begin(t)
	w.as("alice").save("a", "gone")
	comparer := reconcile.New(reconcile.Options{Store: w.store, Directories: map[string]reconcile.Directory{"account": directory}, ConfirmAfter: time.Nanosecond})
	dry := w.admin().call(reconcilePath + "?dryRun=true")
	require.Equal(t, "reconcile", dry.Kind)
	require.Equal(t, "root", dry.Metadata.Actor)
	require.Equal(t, "pending", dry.Metadata.State)
	require.Equal(t, dry.Name, w.system().call(reconcilePath+"?dryRun=true").Name, "one goes on at a time")
	w.unchanged(func() {
		refused := w.system().send(http.MethodPost, reconcilePath, "").fails(http.StatusConflict, "ALREADY_EXISTS")
		require.Equal(t, dry.Name, refused.Error.Details.ResourceName)
	})
	w.looks(preferences.KindReconcile, comparer)
	require.Contains(t, string(w.operation(dry).Response), `"dryRun":true`)

	for range 2 {
		w.system().call(reconcilePath)
		w.looks(preferences.KindReconcile, comparer)
	}
	w.work(func() {})
	require.Equal(t, []string{"a:1"}, w.as("alice").read().shown())
	require.InDelta(t, 1, w.standing().Reconciliation.LastReport.Summary["cleaned"], 0)
	w.admin().send(http.MethodPost, reconcilePath+"?dryRun=perhaps", "").fails(http.StatusBadRequest, "INVALID_FIELD", "dryRun")
}

func TestWhereNobodyCanBeAskedNothingIsCompared(t *testing.T) {
	w := begin(t, func(o *preferences.Options) { o.Directories = nil })
	w.unchanged(func() {
		w.admin().send(http.MethodPost, reconcilePath, "").fails(http.StatusServiceUnavailable, "OWNER_UNAVAILABLE")
	})
}

// TestStatusTellsTheLastLookAtTheDatabase: in outline; one that was broken off
// vouches for nothing.
func TestStatusTellsTheLastLookAtTheDatabase(t *testing.T) {
	w := begin(t)
	w.as("alice").save("a", "b")
	looker := &verify.Runs{Store: w.store}
	begun := w.system().call(verifyPath)
	require.Equal(t, begun.Name, w.admin().call(verifyPath).Name, "one goes on at a time")
	require.Nil(t, w.standing().Verification.LastReport, "it goes on")
	w.looks(preferences.KindVerify, looker)
	last := w.standing().Verification.LastReport
	require.Equal(t, begun.Name, last.Operation)
	require.Equal(t, "succeeded", last.State)
	require.Equal(t, true, last.Summary["sound"])
	require.InDelta(t, 2, last.Summary["items"], 0)
	require.NotContains(t, last.Summary, "invariants", "the operation itself has them")

	w.system().call(w.system().call(verifyPath).path() + "/cancel")
	w.looks(preferences.KindVerify, looker)
	last = w.standing().Verification.LastReport
	require.Equal(t, "cancelled", last.State)
	require.Equal(t, false, last.Summary["sound"])

	w.system().call(verifyPath)
	held, _, err := w.store.Claim(t.Context(), "here", time.Minute, preferences.KindVerify)
	require.NoError(t, err)
	ended, err := looker.GiveUp(t.Context(), held, context.DeadlineExceeded)
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, false, w.standing().Verification.LastReport.Summary["sound"])
}

// TestCallsAboutOperationsHappenOnceUnderTheirKeys: a repetition does nothing
// and is accepted, also when the first call has had its effect.
func TestCallsAboutOperationsHappenOnceUnderTheirKeys(t *testing.T) {
	w := begin(t)
	w.as("alice").save("x", "y")
	system := w.system()
	o, other := w.async("x"), w.async("y")
	cancel, undo := o.path()+"/cancel", o.path()+"/undo"
	repeated := func(path, key, state string) {
		t.Helper()
		w.unchanged(func() { require.Equal(t, state, system.call(path, keyHeader, key).Metadata.State) })
	}
	refused := func(path, key string) {
		t.Helper()
		w.unchanged(func() {
			system.send(http.MethodPost, path, "", keyHeader, key).fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
		})
	}
	require.True(t, system.call(cancel, keyHeader, "stop").Metadata.CancelRequested)
	repeated(cancel, "stop", "pending")
	w.work(func() {})
	repeated(cancel, "stop", "cancelled")
	for _, path := range []string{cancel + "?undo=true", undo, other.path() + "/cancel", reconcilePath, verifyPath} {
		refused(path, "stop")
	}
	w.unchanged(func() {
		system.send(http.MethodPost, cancel, "", keyHeader, "late").fails(http.StatusConflict, "OPERATION_FINISHED")
	})

	require.Equal(t, "compensating", system.call(undo, keyHeader, "back").Metadata.State)
	repeated(undo, "back", "compensating")
	require.Equal(t, "compensating", system.call(undo, keyHeader, "back-again").Metadata.State)
	w.work(func() {})
	repeated(undo, "back", "compensated")
	repeated(undo, "back-again", "compensated")
	w.unchanged(func() { system.send(http.MethodPost, undo, "").fails(http.StatusConflict, "OPERATION_FINISHED") })

	for _, path := range []string{reconcilePath, verifyPath} {
		begun := system.call(path, keyHeader, path)
		require.Equal(t, begun.Name, system.call(path, keyHeader, path).Name)
		system.call(begun.path() + "/cancel")
	}
	w.looks(preferences.KindReconcile, reconcile.New(reconcile.Options{Store: w.store}))
	w.looks(preferences.KindVerify, &verify.Runs{Store: w.store})
	repeated(reconcilePath, reconcilePath, "cancelled")
	repeated(verifyPath, verifyPath, "cancelled")
	refused(reconcilePath+"?dryRun=true", reconcilePath)
}

// TestACallAboutAnOperationThatIsUnderWayIsNotRepeated: the second one waits for
// nothing.
func TestACallAboutAnOperationThatIsUnderWayIsNotRepeated(t *testing.T) {
	w := begin(t)
	o := w.async("x")
	id := uuid.MustParse(strings.TrimPrefix(o.Name, "operations/"))
	for path, call := range map[string]func(by preferences.By) (preferences.Operation, error){
		o.path() + "/cancel": func(by preferences.By) (preferences.Operation, error) {
			return w.prefs.CancelOperation(t.Context(), id, by, false)
		},
		o.path() + "/undo": func(by preferences.By) (preferences.Operation, error) {
			return w.prefs.UndoOperation(t.Context(), id, by)
		},
		reconcilePath: func(by preferences.By) (preferences.Operation, error) {
			return w.prefs.Reconcile(t.Context(), by, false)
		},
		verifyPath: func(by preferences.By) (preferences.Operation, error) {
			return w.prefs.BeginRun(t.Context(), by, preferences.KindVerify, preferences.RunRequest{})
		},
	} {
		tx, err := w.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		// The first gets as far as its commit, and waits there. It does not come over HTTP: services are let in one by one.
		_, err = tx.ExecContext(t.Context(), "insert into idempotency_keys (user_id, key, fingerprint, status) values ('svc', $1, '', 0)", path)
		require.NoError(t, err)
		first := make(chan error, 1)
		go func() {
			_, err := call(preferences.By{Actor: "svc", Once: &preferences.Once{Key: path}})
			first <- err
		}()
		require.Eventually(t, func() bool { return w.count(keyLocks) == 1 }, 10*time.Second, 5*time.Millisecond)
		w.system().send(http.MethodPost, path, "", keyHeader, path).fails(http.StatusConflict, "REQUEST_IN_PROGRESS")
		require.NoError(t, tx.Rollback())
		require.NoError(t, <-first)
		w.unchanged(func() { w.system().call(path, keyHeader, path) })
	}
}
