package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const writers = 50

// together runs n writers at once and returns their statuses.
func together(n int, write func(i int) answered) []int {
	var wg sync.WaitGroup
	start := make(chan struct{})
	statuses := make([]int, n)
	for i := range n {
		wg.Go(func() {
			<-start
			statuses[i] = write(i).StatusCode
		})
	}
	close(start)
	wg.Wait()
	return statuses
}

// tally counts equal statuses.
func tally(statuses []int) map[int]int {
	out := map[int]int{}
	for _, s := range statuses {
		out[s]++
	}
	return out
}

// payload is what writer i saves: a rotation of ten entities.
func payload(i int) string {
	ids := many(10)
	return body(append(slices.Clone(ids[i%10:]), ids[:i%10]...)...)
}

func TestCase090_OfFiftyWritersWithOneTagOneWins(t *testing.T) {
	alice := begin(t).as("alice")
	tag := alice.save(many(10)...).ETag
	statuses := together(writers, func(i int) answered {
		return alice.replace(body(fmt.Sprintf("w-%d", i)), "If-Match", tag)
	})
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusPreconditionFailed: writers - 1}, tally(statuses))
	winner := slices.Index(statuses, http.StatusOK)
	require.Equal(t, []string{fmt.Sprintf("w-%d:1", winner)}, alice.read().shown())
	require.Equal(t, 2, alice.read().Version)
	require.Equal(t, 2, alice.events())
}

func TestCase091_OfFiftyWritersWithoutATagTheLastWins(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(10)...)
	statuses := together(writers, func(i int) answered { return alice.replace(payload(i)) })
	require.Equal(t, map[int]int{http.StatusOK: writers}, tally(statuses))
	l := alice.read()
	require.Len(t, l.Preferences, 10)
	first := slices.Index(many(10), l.Preferences[0].EntityID)
	for i, p := range l.Preferences {
		require.Equal(t, i+1, p.Order)
		require.Equal(t, many(10)[(first+i)%10], p.EntityID, "the list is one writer's, not a mixture")
	}
	require.Equal(t, l.Version, alice.events(), "each version has its event")
}

func TestCase092_FiftyFirstSavesAllSucceed(t *testing.T) {
	alice := begin(t).as("alice")
	statuses := together(writers, func(i int) answered {
		if i%2 == 0 {
			return alice.replace(payload(i))
		}
		return alice.send(http.MethodPost, "/preferences", fmt.Sprintf(`{"domain":"accounts","entityId":"one-%d"}`, i))
	})
	for i, status := range statuses {
		require.Equal(t, map[bool]int{true: http.StatusOK, false: http.StatusCreated}[i%2 == 0], status)
	}
	require.Equal(t, 1, alice.count("select count(*) from preference_lists"))
	for i, p := range alice.read().Preferences {
		require.Equal(t, i+1, p.Order)
	}
}

// TestCase096: saves that race a deletion neither fail nor bring the entity
// back.
func TestCase096_SavesAndADeletionMeet(t *testing.T) {
	w := begin(t)
	alice := w.as("alice")
	alice.save("a", "gone", "b")
	saved := together(writers, func(i int) answered {
		switch {
		case i == writers/2:
			return w.system().send(http.MethodPost, "/preferences:cleanOrphaned", `{"entityId":"gone","entityType":"account"}`)
		case i%3 == 0:
			return alice.replace(body("b", "gone", "a"))
		case i%3 == 1:
			return alice.replace(body("gone", "a", "b"))
		default:
			return alice.replace(body("a", "b", fmt.Sprintf("x-%d", i), "gone"))
		}
	})
	require.Equal(t, map[int]int{http.StatusOK: writers}, tally(saved))
	l := alice.read()
	require.Empty(t, l.find("gone").ID)
	for i, p := range l.Preferences {
		require.Equal(t, i+1, p.Order)
	}
	alice.replace(body("gone", "z")).list(http.StatusOK)
	require.Equal(t, []string{"z:1"}, alice.read().shown())
}

// TestReadersSeeWholeVersions: a tag and its list never disagree, whoever
// writes meanwhile.
func TestReadersSeeWholeVersions(t *testing.T) {
	alice := begin(t).as("alice")
	alice.save(many(10)...)
	var mu sync.Mutex
	bodies := map[string]string{}
	together(writers, func(i int) answered {
		if i%5 == 0 {
			return alice.replace(payload(i))
		}
		res := alice.send(http.MethodGet, accounts, "")
		mu.Lock()
		defer mu.Unlock()
		tag := res.Header.Get("ETag")
		if known, ok := bodies[tag]; ok && known != res.text {
			t.Errorf("two bodies have the tag %s", tag)
		}
		bodies[tag] = res.text
		return res
	})
}

// TestCase090_OfFiftyWritersWithOneTagOneWinsByEveryVerb: the others are told,
// and leave nothing behind.
func TestCase090_OfFiftyWritersWithOneTagOneWinsByEveryVerb(t *testing.T) {
	alice := begin(t).as("alice")
	for name, write := range map[string]func(c caller, l list, it preference, i int) answered{
		"batchUpdate": func(c caller, l list, it preference, i int) answered {
			return c.send(http.MethodPatch, batchPath, batch(it.gets(fmt.Sprintf(`{"by":%d}`, i))), "If-Match", l.ETag)
		},
		"batchUpdate by the item's tag": func(c caller, _ list, it preference, i int) answered {
			return c.send(http.MethodPatch, batchPath, batch(fmt.Sprintf(`{"id":%q,"etag":%q,"attributes":{"by":%d}}`, it.ID, it.ETag, i)))
		},
		"patch": func(c caller, _ list, it preference, i int) answered {
			return c.send(http.MethodPatch, "/preferences/"+it.ID, fmt.Sprintf(`{"attributes":{"by":%d}}`, i), "If-Match", it.ETag)
		},
		"create": func(c caller, l list, _ preference, i int) answered {
			return c.send(http.MethodPost, "/preferences", fmt.Sprintf(`{"domain":"accounts","entityId":"w-%d"}`, i), "If-Match", l.ETag)
		},
		"restore": func(c caller, l list, _ preference, _ int) answered {
			return c.restore(l.Version-1, "If-Match", l.ETag)
		},
	} {
		t.Run(name, func(t *testing.T) {
			alice := alice.in(t)
			alice.save("z")
			l := alice.save("a", "b", "c")
			statuses := tally(together(writers, func(i int) answered { return write(alice, l, l.Preferences[1], i) }))
			require.Equal(t, writers-1, statuses[http.StatusPreconditionFailed], "%v", statuses)
			require.Equal(t, 1, statuses[http.StatusOK]+statuses[http.StatusCreated], "%v", statuses)
			require.Equal(t, l.Version+1, alice.read().Version)
		})
	}
	l := alice.save("a", "b", "c")
	statuses := tally(together(writers, func(int) answered {
		return alice.send(http.MethodDelete, "/preferences/"+l.Preferences[1].ID, "", "If-Match", l.Preferences[1].ETag)
	}))
	require.Equal(t, map[int]int{http.StatusNoContent: 1, http.StatusNotFound: writers - 1}, statuses, "what is gone has no tag to compare")
}

func TestCase091_OfFiftyBatchesWithoutATagAllSucceed(t *testing.T) {
	alice := begin(t).as("alice")
	l := alice.save(many(10)...)
	statuses := together(writers, func(i int) answered {
		a, b := l.Preferences[i%10], l.Preferences[(i+3)%10]
		return alice.send(http.MethodPost, batchPath, batch(a.moves(i%10+1), b.moves((i+5)%10+1), l.Preferences[(i+1)%10].gets(fmt.Sprintf(`{"k%d":1}`, i))))
	})
	require.Equal(t, map[int]int{http.StatusOK: writers}, tally(statuses))
	now := alice.read()
	require.Equal(t, now.Version, alice.events())
	keys := 0
	for i, p := range now.Preferences {
		require.Equal(t, i+1, p.Order)
		var attributes map[string]int
		require.NoError(t, json.Unmarshal(p.Attributes, &attributes))
		keys += len(attributes)
	}
	require.Equal(t, writers, keys, "every change is there")
}
