package chaos

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

// keeping is the statement that puts an answer under its key.
const keeping = "\x00keep\x00"

const cleanPath = "/preferences:cleanOrphaned"

// keyed is a write that its caller repeats with the same key.
type keyed struct {
	*prefstest.Caller

	method, path string
	body         any
	status       int
}

func (k keyed) send(ctx context.Context) (prefstest.Answer, error) {
	return k.Do(ctx, k.method, k.path, k.body, "Idempotency-Key", `"once"`)
}

// repeat sends the write until it is not under way any more.
func (k keyed) repeat(t *testing.T) prefstest.Answer {
	t.Helper()
	var answer prefstest.Answer
	prefstest.Eventually(t, prefstest.Patience, k.method+" "+k.path+" is answered", func() bool {
		var err error
		answer, err = k.send(t.Context())
		require.NoError(t, err)
		return answer.Status != http.StatusConflict
	})
	require.Equal(t, k.status, answer.Status, "%s", answer.Body)
	return answer
}

// caller is a user with a list of two versions.
func caller(t *testing.T, stage *prefstest.Stage, url, user string) (c *prefstest.Caller, second string) {
	t.Helper()
	c = prefstest.NewCaller(url, stage.Token(t, user))
	t.Cleanup(c.Close)
	save(t, c, "a", "b")
	l := save(t, c, "c", "b", "a")
	return c, l.Preferences[1].ID
}

// save saves an order and returns the list.
func save(t *testing.T, c *prefstest.Caller, entities ...string) (l prefstest.List) {
	t.Helper()
	answer, err := c.Do(t.Context(), http.MethodPut, "/preferences:batchReplace", prefstest.Order(entities...))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
	require.NoError(t, answer.JSON(&l))
	return l
}

// read returns the list of a caller.
func read(t *testing.T, c *prefstest.Caller) (l prefstest.List) {
	t.Helper()
	answer, err := c.Do(t.Context(), http.MethodGet, "/preferences?domain=accounts", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
	require.NoError(t, answer.JSON(&l))
	return l
}

// listWrites are one write of each kind, by users of their own.
func listWrites(t *testing.T, stage *prefstest.Stage, url string) []keyed {
	t.Helper()
	var out []keyed
	add := func(method string, status int, request func(id string) (path string, body any)) {
		c, id := caller(t, stage, url, fmt.Sprintf("user-%d", len(out)))
		path, body := request(id)
		out = append(out, keyed{c, method, path, body, status})
	}
	type object = map[string]any
	add(http.MethodPut, http.StatusOK, func(string) (string, any) { return "/preferences:batchReplace", prefstest.Order("b", "d") })
	add(http.MethodPost, http.StatusCreated, func(string) (string, any) {
		return "/preferences", object{"domain": "accounts", "entityId": "d", "order": 1}
	})
	add(http.MethodPatch, http.StatusOK, func(id string) (string, any) {
		return "/preferences/" + id, object{"order": 1, "attributes": object{"isFavorite": true}}
	})
	add(http.MethodDelete, http.StatusNoContent, func(id string) (string, any) { return "/preferences/" + id, nil })
	add(http.MethodPatch, http.StatusOK, func(id string) (string, any) {
		return "/preferences:batchUpdate", object{"domain": "accounts", "updates": []object{{"id": id, "order": 3}}}
	})
	add(http.MethodPost, http.StatusOK, func(string) (string, any) {
		return "/preferences:restore", object{"domain": "accounts", "version": 1}
	})
	return out
}

// die sends the writes and kills the api when all of them are held. No answer
// comes to any.
func die(t *testing.T, api *prefstest.Service, w *pgtest.Wire, hold pgtest.Hold, writes ...keyed) {
	t.Helper()
	w.Hold(hold)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer api.Kill()
	for _, k := range writes {
		wg.Go(func() {
			if answer, err := k.send(t.Context()); err == nil {
				t.Errorf("%s %s was answered: %d %s", k.method, k.path, answer.Status, answer.Body)
			}
		})
	}
	prefstest.Eventually(t, 5*time.Second, "all writes are held at their commit", func() bool { return w.Held() == len(writes) })
	w.Release()
}

func TestAKeyOutlivesAKillBetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	stage, wire := wired(t)
	api := stage.API(t, nil)
	writes := listWrites(t, stage, api.URL)
	before := stage.Look(t)
	die(t, api, wire, pgtest.Hold{Mark: keeping}, writes...)
	after := stage.Look(t)
	require.Equal(t, before.Changes+len(writes), after.Changes, "every write has one version")
	require.Equal(t, before.Events+len(writes), after.Events, "and one event")

	stage.API(t, api)
	for _, k := range writes {
		// Done again, the write would undo this one.
		require.EqualValues(t, 4, save(t, k.Caller, "z").Version)
		first := k.repeat(t)
		require.Equal(t, first, sameAs(t, first, k.repeat(t)))
		if k.method != http.MethodDelete {
			require.NotEmpty(t, first.Header.Get("ETag"))
		}
		var told prefstest.List
		if len(first.Body) > 0 && first.JSON(&told) == nil && told.Preferences != nil {
			require.EqualValues(t, 3, told.Version, "the answer is that of the write")
		}
		require.Equal(t, []string{"z"}, read(t, k.Caller).Entities())
		require.EqualValues(t, 4, read(t, k.Caller).Version)
	}
	done := stage.Settle(t)
	require.Equal(t, after.Changes+len(writes), done.Changes)
	require.Equal(t, done.Changes, done.Events)
}

// sameAs compares two answers but for what each has of its own.
func sameAs(t *testing.T, first, again prefstest.Answer) prefstest.Answer {
	t.Helper()
	for _, own := range []string{"X-Request-Id", "Date", "Ratelimit"} {
		again.Header[own] = first.Header[own]
	}
	return again
}

func TestAWriteWhoseCommitNeverLeftIsDoneByItsRepetition(t *testing.T) {
	t.Parallel()
	stage, wire := wired(t)
	api := stage.API(t, nil)
	writes := listWrites(t, stage, api.URL)
	before := stage.Look(t)
	die(t, api, wire, pgtest.Hold{Mark: keeping, Before: true}, writes...)
	require.Equal(t, before, stage.Look(t), "nothing was done")

	api = stage.API(t, api)
	for _, k := range writes {
		first := k.repeat(t)
		require.EqualValues(t, 3, read(t, k.Caller).Version)
		require.Equal(t, first, sameAs(t, first, k.repeat(t)))
		require.EqualValues(t, 3, read(t, k.Caller).Version)
	}
	done := stage.Settle(t)
	require.Equal(t, before.Changes+len(writes), done.Changes)
	require.Equal(t, done.Changes, done.Events)
	require.Zero(t, api.Terminate(t))
}

// TestAKilledCleanIsDoneOnce: its key commits with the operation, which the
// consumer carries on, and answers from what was done.
func TestAKilledCleanIsDoneOnce(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]pgtest.Hold{
		"before its operation is there":          {Mark: keeping, Before: true},
		"when its operation is there":            {Mark: keeping},
		"before its last commit":                 {Mark: "\x00opfinish\x00", Before: true},
		"between its last commit and its answer": {Mark: "\x00opfinish\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stage, wire := wired(t)
			api := stage.API(t, nil)
			alice, _ := caller(t, stage, api.URL, "alice")
			bob, _ := caller(t, stage, api.URL, "bob")
			service := prefstest.NewCaller(api.URL, stage.Token(t, "service", auth.ScopeSystem))
			t.Cleanup(service.Close)
			clean := keyed{service, http.MethodPost, cleanPath, map[string]any{"entityId": "b", "entityType": "account"}, http.StatusOK}
			die(t, api, wire, hold, clean)

			stage.API(t, api)
			stage.Consumer(t, nil)
			answer := clean.repeat(t)
			require.JSONEq(t, `{"deleted":2,"affectedUsers":["alice","bob"],"reordered":true}`, string(answer.Body))
			require.Equal(t, answer, sameAs(t, answer, clean.repeat(t)))
			for _, c := range []*prefstest.Caller{alice, bob} {
				l := read(t, c)
				require.Equal(t, []string{"c", "a"}, l.Entities())
				require.EqualValues(t, 3, l.Version)
			}
			require.Equal(t, 1, stage.Settle(t).Cleans)
		})
	}
}

// wired is a stage whose binaries reach the database over a wire.
func wired(t *testing.T) (*prefstest.Stage, *pgtest.Wire) {
	t.Helper()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	wire, through := pgtest.NewWire(t, stage.DatabaseURL)
	stage.DatabaseURL = through
	return stage, wire
}
