package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/preferences"
)

const keyHeader = "Idempotency-Key"

// keyedWrite is a request to a route that writes, and a request to the same
// route that means something else.
type keyedWrite struct {
	caller         caller
	method, target string
	body, other    string
	status         int
}

func (k keyedWrite) send(t *testing.T, body string, h ...string) answered {
	t.Helper()
	return k.caller.in(t).send(k.method, k.target, body, h...)
}

// keyedWrites are one request to each route that writes, on lists of their own.
func keyedWrites(w *world) map[string]keyedWrite {
	item := func(user string) (caller, string) {
		c := w.as(user)
		return c, c.save("a", "b", "gone").find("b").ID
	}
	replacer, _ := item("replacer")
	creator, _ := item("creator")
	patcher, patched := item("patcher")
	remover, removed := item("remover")
	poster, _ := item("poster")
	batcher, batched := item("batcher")
	bulker, bulked := item("bulker")
	restorer, _ := item("restorer")
	restorer.save("b")
	batch := func(id string, order int) string {
		return fmt.Sprintf(`{"domain":"accounts","updates":[{"id":%q,"order":%d,"attributes":{"x":1}}]}`, id, order)
	}
	return map[string]keyedWrite{
		"replace":         {replacer, http.MethodPut, "/preferences:batchReplace", body("b", "a"), body("b"), http.StatusOK},
		"replace by POST": {poster, http.MethodPost, "/preferences:batchReplace", body("b", "a"), body("b"), http.StatusOK},
		"batch":           {batcher, http.MethodPatch, "/preferences:batchUpdate", batch(batched, 1), batch(batched, 3), http.StatusOK},
		"batch by POST":   {bulker, http.MethodPost, "/preferences:batchUpdate", batch(bulked, 1), batch(bulked, 3), http.StatusOK},
		"restore": {
			restorer, http.MethodPost, "/preferences:restore", `{"domain":"accounts","version":1}`,
			`{"domain":"accounts","version":2}`, http.StatusOK,
		},
		"create": {
			creator, http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"new","order":1}`,
			`{"domain":"accounts","entityId":"new","order":2}`, http.StatusCreated,
		},
		"patch": {
			patcher, http.MethodPatch, "/preferences/" + patched, `{"attributes":{"x":1,"y":[1,{"z":2}]},"order":1}`,
			`{"attributes":{"x":2,"y":[1,{"z":2}]},"order":1}`, http.StatusOK,
		},
		"delete": {remover, http.MethodDelete, "/preferences/" + removed, "", "", http.StatusNoContent},
		"clean": {
			w.system(), http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"gone","entityType":"account"}`,
			`{"entityId":"gone","entityType":"account","reorder":false}`, http.StatusOK,
		},
	}
}

func TestCase104_ARepeatedWriteGetsTheFirstAnswer(t *testing.T) {
	w := begin(t)
	for name, k := range keyedWrites(w) {
		t.Run(name, func(t *testing.T) {
			first := k.send(t, k.body, keyHeader, `"key-1"`).is(k.status)
			w.in(t).unchanged(func() {
				for _, h := range [][]string{
					{keyHeader, `"key-1"`},
					{keyHeader, `key-1`},
					{keyHeader, `"key-1"`, "If-Match", `"stale"`}, // the answer comes before the condition
				} {
					again := k.send(t, k.body, h...).is(k.status)
					require.Equal(t, first.text, again.text)
					for _, header := range []string{"ETag", "Location", "Content-Type", "Content-Length", "Cache-Control"} {
						require.Equal(t, first.Header.Values(header), again.Header.Values(header), header)
					}
				}
			})
		})
	}
}

func TestCase104_AKeyBelongsToOneRequest(t *testing.T) {
	w := begin(t)
	writes := keyedWrites(w)
	for name, k := range writes {
		t.Run(name, func(t *testing.T) {
			k.send(t, k.body, keyHeader, "key").is(k.status)
			w.in(t).unchanged(func() {
				if k.other != "" {
					p := k.send(t, k.other, keyHeader, "key").fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
					require.Equal(t, "INVALID_ARGUMENT", p.Error.Status)
				}
				for _, other := range writes { // another route, or another item
					if other.target == k.target || strings.HasSuffix(other.target, "cleanOrphaned") ||
						name == "clean" && strings.HasSuffix(other.target, "restore") { // the service has no list
						continue
					}
					k.caller.in(t).send(other.method, other.target, other.body, keyHeader, "key").
						fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
				}
				if k.method == http.MethodPut || k.method == http.MethodPatch {
					k.caller.in(t).send(k.method, k.target+"?force=true", k.body, keyHeader, "key").
						fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
				}
			})
		})
	}
}

func TestCase104_WhileTheFirstIsUnderWayTheSecondWaitsForNothing(t *testing.T) {
	w := begin(t)
	writes := keyedWrites(w)
	delete(writes, "clean") // cleans are let in one by one; abandoned has the case
	for name, k := range writes {
		t.Run(name, func(t *testing.T) {
			tx, err := w.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			// It gets as far as its last batch, and waits there.
			_, err = tx.ExecContext(t.Context(), `insert into idempotency_keys (user_id, key, fingerprint, status)
				select u, $1, '', 0 from unnest(array['replacer', 'creator', 'patcher', 'remover', 'poster', 'batcher', 'bulker', 'restorer']) u`, "key-"+name)
			require.NoError(t, err)
			send := func() answered { return k.send(t, k.body, keyHeader, `"key-`+name+`"`) }
			var wg sync.WaitGroup
			defer wg.Wait()
			defer func() { _ = tx.Rollback() }()
			wg.Go(func() {
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for n := 0; n < 100 && send().StatusCode != k.status; n++ { // locks are not awaited for ever
					<-tick.C
				}
			})
			underWay := func() bool { return w.in(t).count(keyLocks) == 1 }
			require.Eventually(t, underWay, 10*time.Second, 5*time.Millisecond)
			p := send().fails(http.StatusConflict, "REQUEST_IN_PROGRESS")
			require.Equal(t, "ABORTED", p.Error.Status)
			require.NoError(t, tx.Rollback())
			wg.Wait()
			send().is(k.status)
		})
	}
}

// keyLocks counts the requests of this database that hold a key.
const keyLocks = `select count(*) from pg_locks
where locktype = 'advisory' and classid = 4244 and database = (select oid from pg_database where datname = current_database())`

func TestCase104_KeysThatCannotBeReadAreRefused(t *testing.T) {
	w := begin(t)
	long := strings.Repeat("k", 256)
	for name, k := range keyedWrites(w) {
		for why, h := range map[string][]string{
			"empty": {""}, "empty string": {`""`}, "256 characters": {`"` + long + `"`}, "256 in a token": {long},
			"unterminated": {`"abc`}, "something behind": {`"abc" x`}, "parameters": {`"abc";a=1`}, "unknown escape": {`"a\bc"`},
			"escape at the end": {`"abc\`}, "blank in a token": {"a b"}, "list": {`"a", "b"`}, "two lines": {"a", "a"}, "not ASCII": {`"é"`},
			"byte sequence with a bracket": {"(a)"},
		} {
			t.Run(name+" "+why, func(t *testing.T) {
				var lines []string
				for _, value := range h {
					lines = append(lines, keyHeader, value)
				}
				w.in(t).unchanged(func() {
					k.send(t, k.body, lines...).fails(http.StatusBadRequest, "INVALID_FIELD", keyHeader)
				})
			})
		}
	}
}

func TestCase104_SpellingsOfAKey(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save("a")
	for i, spellings := range [][]string{
		{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, `8e03978e-40d5-43dd-bc93-6894a57f9324`},
		{`"a b, c; \" \\"`, `"a b, c; \" \\"`},
		{`"` + strings.Repeat("k", 255) + `"`, strings.Repeat("k", 255)},
		{`aGVsbG8gd29ybGQ=`, `"aGVsbG8gd29ybGQ="`},
	} {
		content := fmt.Sprintf(`{"domain":"accounts","entityId":"n-%d"}`, i)
		first := alice.send(http.MethodPost, "/preferences", content, keyHeader, spellings[0]).item(http.StatusCreated)
		again := alice.send(http.MethodPost, "/preferences", content, keyHeader, spellings[1]).item(http.StatusCreated)
		require.Equal(t, first, again)
	}
	// A read has nothing to protect.
	alice.send(http.MethodGet, accounts, "", keyHeader, `"`).list(http.StatusOK)
}

func TestCase104_KeysOfOthersAreIndependent(t *testing.T) {
	w := begin(t)
	alice, bob := w.as("alice"), w.as("bob")
	alice.replace(body("a"), keyHeader, "key").list(http.StatusOK)
	bob.replace(body("b", "c"), keyHeader, "key").list(http.StatusOK)
	require.Equal(t, []string{"a:1"}, alice.read().shown())
	require.Equal(t, []string{"b:1", "c:2"}, bob.read().shown())
}

func TestCase104_OneSpellingOrAnotherIsTheSameRequest(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.replace(items0(`{"entityId":"a","attributes":{"n":100,"m":{"x":1,"y":2}}}`, `{"entityId":"b"}`), keyHeader, "k").list(http.StatusOK)
	alice.unchanged(func() {
		for _, text := range []string{
			items0(`{"attributes":{"m":{"y":2.0,"x":1},"n":1e2},"entityId":"a"}`, ` { "entityId" : "b" }`),
			items0(`{"entityId":"a","entityType":"account","attributes":{"n":100,"m":{"x":1,"y":2}},"etag":"x","version":7}`, `{"entityId":"b"}`),
			items0(`{"entityId":"b","order":9}`, `{"entityId":"a","order":2,"attributes":{"n":100,"m":{"x":1,"y":2}}}`),
		} {
			require.Equal(t, l, alice.replace(text, keyHeader, "k").list(http.StatusOK))
		}
		for _, text := range []string{
			items0(`{"entityId":"a","attributes":{"n":100,"m":{"x":1,"y":3}}}`, `{"entityId":"b"}`),
			items0(`{"entityId":"a"}`, `{"entityId":"b"}`),
			items0(`{"entityId":"a","attributes":{}}`, `{"entityId":"b"}`),
			items0(`{"entityId":"b"}`, `{"entityId":"a","attributes":{"n":100,"m":{"x":1,"y":2}}}`),
		} {
			alice.replace(text, keyHeader, "k").fails(http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
		}
	})
}

func TestCase104_OnlySuccessesAreKept(t *testing.T) {
	w := begin(t, func(o *preferences.Options) { o.RequireCondition = true })
	alice := w.as("alice")
	l := alice.replace(body("a"), keyHeader, "first", "If-Match", alice.read().ETag).list(http.StatusOK)
	id := l.Preferences[0].ID
	w.unchanged(func() {
		alice.replace(body("b"), keyHeader, "k", "If-Match", `"stale"`).fails(http.StatusPreconditionFailed, "PRECONDITION_FAILED")
		alice.replace(body("b", "b"), keyHeader, "k", "If-Match", l.ETag).fails(http.StatusBadRequest, "DUPLICATE_ENTITY")
		alice.replace(body("b"), keyHeader, "k").fails(http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")
		alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"a"}`, keyHeader, "k", "If-Match", l.ETag).
			fails(http.StatusConflict, "ALREADY_EXISTS")
		alice.send(http.MethodDelete, "/preferences/0192688a-4b3f-7c21-9a5e-3f1d2c4b5a69", "", keyHeader, "k", "If-Match", "*").
			fails(http.StatusNotFound, "NOT_FOUND")
	})
	alice.send(http.MethodDelete, "/preferences/"+id, "", keyHeader, "k", "If-Match", "*").is(http.StatusNoContent)
	// Nor does what is kept ask for a condition again.
	require.Equal(t, l, alice.replace(body("a"), keyHeader, "first").list(http.StatusOK))
}

// TestCase104_AnAnswerThatChangedNothingIsKept: what it said was true then, and
// doing the request now would undo what came after it.
func TestCase104_AnAnswerThatChangedNothingIsKept(t *testing.T) {
	alice := begin(t).as("alice")
	empty := alice.replace(body(), keyHeader, "nothing").list(http.StatusOK)
	require.Zero(t, empty.Version)
	require.Zero(t, alice.count("select count(*) from preference_lists"))
	alice.save("a", "b")
	same := alice.replace(body("a", "b"), keyHeader, "same").list(http.StatusOK)
	require.Equal(t, summary{Total: 2}, *same.Summary)
	alice.save("b", "c")
	alice.unchanged(func() {
		require.Equal(t, same, alice.replace(body("a", "b"), keyHeader, "same").list(http.StatusOK))
		require.Equal(t, empty, alice.replace(body(), keyHeader, "nothing").list(http.StatusOK))
	})
}

func TestCase104_DeletedEntitiesAreSkippedOnceToo(t *testing.T) {
	w := begin(t)
	w.clean(`{"entityId":"gone","entityType":"account"}`)
	alice := w.as("alice")
	// Nothing is left of the first one, and no list is made for it.
	none := alice.replace(body("gone"), keyHeader, "none").list(http.StatusOK)
	require.Len(t, none.Skipped, 1)
	require.Zero(t, w.count("select count(*) from preference_lists"))
	some := alice.replace(body("a", "gone"), keyHeader, "some").list(http.StatusOK)
	require.Len(t, some.Skipped, 1)
	alice.send(http.MethodPost, "/preferences", `{"domain":"accounts","entityId":"gone"}`, keyHeader, "one").fails(http.StatusConflict, "ENTITY_DELETED")
	w.unchanged(func() {
		require.Equal(t, none, alice.replace(body("gone"), keyHeader, "none").list(http.StatusOK))
		require.Equal(t, some, alice.replace(body("a", "gone"), keyHeader, "some").list(http.StatusOK))
	})
}

func TestCase104_AKeyIsForgottenAfterADay(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.replace(body("a"), keyHeader, "old").list(http.StatusOK)
	alice.replace(body("b"), keyHeader, "new").list(http.StatusOK)
	_, err := w.db.ExecContext(t.Context(), "update idempotency_keys set created_at = now() - interval '24 hours 1 second' where key = 'old'")
	require.NoError(t, err)
	require.Equal(t, 3, alice.replace(body("a"), keyHeader, "old").list(http.StatusOK).Version, "it is done again")
	require.Equal(t, 3, alice.replace(body("a"), keyHeader, "old").list(http.StatusOK).Version, "and kept again")

	_, err = w.db.ExecContext(t.Context(), "update idempotency_keys set created_at = now() - interval '24 hours 1 second' where key = 'old'")
	require.NoError(t, err)
	for _, want := range []int{1, 0} {
		pruned, err := w.store.PruneKeys(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, want, pruned)
	}
	require.Equal(t, 1, w.count("select count(*) from idempotency_keys where key = 'new'"))
}

func TestTwentyRequestsWithOneKeyHaveOneEffect(t *testing.T) {
	w := begin(t)
	for name, k := range keyedWrites(w) {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			versions := w.count("select count(*) from changes")
			answers := make([]answered, 20)
			statuses := together(len(answers), func(i int) answered {
				answers[i] = k.send(t, k.body, keyHeader, "twenty")
				return answers[i]
			})
			counts := tally(statuses)
			require.Positive(t, counts[k.status])
			require.Equal(t, len(answers), counts[k.status]+counts[http.StatusConflict], "%v", counts)
			first := ""
			for _, a := range answers {
				if a.StatusCode == k.status {
					first = a.text
				}
			}
			for _, a := range answers {
				if a.StatusCode == k.status {
					require.Equal(t, first, a.text)
					continue
				}
				a.fails(http.StatusConflict, "REQUEST_IN_PROGRESS")
			}
			effects := 1
			if name == "clean" {
				effects = w.count("select count(*) from changes where action = 'clean'")
				require.Equal(t, 1, w.count("select count(*) from operations"))
			}
			require.Equal(t, versions+effects, w.count("select count(*) from changes"))
		})
	}
}

func TestFiftyWritersWithKeysOfTheirOwnAllSucceed(t *testing.T) {
	alice := begin(t).as("alice")
	statuses := together(writers, func(i int) answered {
		if i%2 == 0 {
			return alice.replace(payload(i), keyHeader, fmt.Sprintf("k-%d", i))
		}
		return alice.send(http.MethodPost, "/preferences", fmt.Sprintf(`{"domain":"accounts","entityId":"one-%d"}`, i), keyHeader, fmt.Sprintf("k-%d", i))
	})
	require.Equal(t, map[int]int{http.StatusOK: writers / 2, http.StatusCreated: writers / 2}, tally(statuses))
	l := alice.read()
	require.Equal(t, l.Version, alice.events())
	require.Equal(t, writers, alice.count("select count(*) from idempotency_keys"))
	for i, p := range l.Preferences {
		require.Equal(t, i+1, p.Order)
	}
}
