package directory_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner is a service that has the accounts whose ids end in 1 or 3, and counts what it is
// asked, unless it is told to answer something else.
type owner struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func open(t *testing.T) *owner {
	t.Helper()
	o := &owner{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		if answer := o.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		lookUp(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func lookUp(w http.ResponseWriter, r *http.Request) {
	var there, missing []string
	for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
		if strings.HasSuffix(id, "1") || strings.HasSuffix(id, "3") {
			there = append(there, fmt.Sprintf(`{"id":%q,"name":"An account"}`, id))
		} else {
			missing = append(missing, fmt.Sprintf("%q", id))
		}
	}
	say(fmt.Sprintf(`{"accounts":[%s],"notFound":[%s]}`, strings.Join(there, ","), strings.Join(missing, ",")))(w, r)
}

func (o *owner) says(answer http.HandlerFunc) { o.answer.Store(&answer) }

func say(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(body))
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(`{"accounts":[],"notFound":["a1","a2"]}`))
	}
}

func client(t *testing.T, o *owner, change func(*directory.Config)) *directory.Client {
	t.Helper()
	cfg := directory.Config{URL: o.URL + "/accounts", Token: "SECRET"}
	if change != nil {
		change(&cfg)
	}
	c, err := directory.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestOnlyWhatTheOwnerNamesIsMissing(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.says(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/accounts" || r.URL.Query().Get("ids") != "a1,a2" || r.Header.Get("Authorization") != "Bearer SECRET" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		say(`{"accounts":[{"id":"a1"}],"notFound":["a2"],"more":1}`)(w, r)
	})
	missing, err := client(t, o, nil).Missing(t.Context(), []string{"a1", "a2"})
	require.NoError(t, err)
	require.Equal(t, []string{"a2"}, missing)
}

func TestWhatCannotBeBelievedSaysNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		asked  int64
	}{
		"500":                 {status(500), 3},
		"503":                 {status(503), 3},
		"too many":            {status(429), 3},
		"not allowed":         {status(403), 1},
		"no such collection":  {status(404), 1},
		"nothing":             {status(204), 1},
		"not all of it":       {status(206), 1},
		"elsewhere":           {http.RedirectHandler("/accounts/", http.StatusFound).ServeHTTP, 1},
		"empty":               {say(``), 1},
		"an empty object":     {say(`{}`), 1},
		"null":                {say(`null`), 1},
		"nulls":               {say(`{"accounts":null,"notFound":null}`), 1},
		"no accounts at all":  {say(`{"accounts":[],"notFound":[]}`), 1},
		"nobody missing":      {say(`{"accounts":[{"id":"a1"}]}`), 1},
		"only the missing":    {say(`{"notFound":["a1","a2"]}`), 1},
		"one left out":        {say(`{"accounts":[{"id":"a1"}],"notFound":[]}`), 1},
		"both":                {say(`{"accounts":[{"id":"a1"},{"id":"a2"}],"notFound":["a2"]}`), 1},
		"more than asked":     {say(`{"accounts":[{"id":"a1"}],"notFound":["a2","a4"]}`), 1},
		"cut off":             {say(`{"accounts":[{"id":"a1"}],"notFound":["a2"`), 1},
		"another shape":       {say(`{"accounts":["a1"],"notFound":["a2"]}`), 1},
		"too long":            {say(`{"accounts":[{"id":"a1"}],"notFound":["a2"],"x":"` + strings.Repeat("x", 5<<20) + `"}`), 1},
		"a page of a captive": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>SECRET</html>")) }, 1},
		"JSON, called text": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte(`{"accounts":[],"notFound":["a1","a2"]}`))
		}, 1},
		"cut by the network": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"accounts":[],"notFound":["a1","a2"]}`))
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.says(tc.answer)
			missing, err := client(t, o, nil).Missing(t.Context(), []string{"a1", "a2"})
			require.Nil(t, missing)
			require.Equal(t, fault.Unavailable, fault.CodeOf(err))
			require.Equal(t, fault.ReasonOwnerUnavailable, fault.ReasonOf(err))
			require.NotContains(t, err.Error(), "SECRET")
			require.Equal(t, tc.asked, o.asked.Load(), "how often it was asked")
		})
	}
}

func TestAnOwnerThatIsTooSlowSaysNothing(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.says(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	missing, err := client(t, o, func(c *directory.Config) { c.Timeout = 100 * time.Millisecond }).Missing(t.Context(), []string{"a1", "a2"})
	require.Nil(t, missing)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Equal(t, fault.ReasonOwnerUnavailable, fault.ReasonOf(err))
}

func TestAMomentsWeaknessIsWaitedOut(t *testing.T) {
	t.Parallel()
	o := open(t)
	c := client(t, o, nil)
	o.says(func(w http.ResponseWriter, r *http.Request) {
		if o.asked.Load() < 3 {
			status(502)(w, r)
			return
		}
		say(`{"accounts":[{"id":"a1"}],"notFound":["a2"]}`)(w, r)
	})
	missing, err := c.Missing(t.Context(), []string{"a1", "a2"})
	require.NoError(t, err)
	require.Equal(t, []string{"a2"}, missing)
}

func TestManyAreAskedAboutInPages(t *testing.T) {
	t.Parallel()
	o := open(t)
	var ids, want []string
	for i := range 1000 {
		id := fmt.Sprintf("%s-%d", strings.Repeat("x", 100), i) // longer than a URL may be, together
		ids = append(ids, id)
		if last := i % 10; last != 1 && last != 3 {
			want = append(want, id)
		}
	}
	missing, err := client(t, o, nil).Missing(t.Context(), ids)
	require.NoError(t, err)
	require.Equal(t, want, missing)
	require.Greater(t, o.asked.Load(), int64(20))

	missing, err = client(t, o, nil).Missing(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, missing)
}

func TestOneFailedPageSaysNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	o := open(t)
	var ids []string
	for i := range 250 {
		ids = append(ids, fmt.Sprint("a", i))
	}
	o.says(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Query().Get("ids"), "a200") {
			status(500)(w, r)
			return
		}
		lookUp(w, r)
	})
	missing, err := client(t, o, nil).Missing(t.Context(), ids)
	require.Nil(t, missing)
	require.Error(t, err)
}

func TestAnswersAreKeptForAMoment(t *testing.T) {
	t.Parallel()
	o := open(t)
	var now atomic.Int64
	c := client(t, o, func(cfg *directory.Config) {
		cfg.Remember = time.Minute
		cfg.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	for range 3 {
		missing, err := c.Missing(t.Context(), []string{"a1", "a2"})
		require.NoError(t, err)
		require.Equal(t, []string{"a2"}, missing)
	}
	require.EqualValues(t, 1, o.asked.Load())
	_, err := c.Missing(t.Context(), []string{"a2", "a4"})
	require.NoError(t, err)
	require.EqualValues(t, 2, o.asked.Load(), "what is new is asked")
	now.Store(60)
	_, err = c.Missing(t.Context(), []string{"a1", "a2"})
	require.NoError(t, err)
	require.EqualValues(t, 3, o.asked.Load())
}

// TestAnOwnerThatFailsIsLeftAlone runs on a clock of its own, which the network
// would hold up: its owner is a function.
func TestAnOwnerThatFailsIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked int
		failing := true
		var states []bool
		c, err := directory.New(directory.Config{
			URL: "http://owner/accounts", Opened: func(open bool) { states = append(states, open) },
			Transport: transport(func(*http.Request) (*http.Response, error) {
				asked++
				w := httptest.NewRecorder()
				if failing {
					status(500)(w, nil)
				} else {
					say(`{"accounts":[],"notFound":["a2"]}`)(w, nil)
				}
				return w.Result(), nil
			}),
		})
		require.NoError(t, err)
		for range 10 {
			_, err := c.Missing(t.Context(), []string{"a2"})
			require.Equal(t, fault.ReasonOwnerUnavailable, fault.ReasonOf(err))
		}
		require.Equal(t, 5, asked, "then nobody asks")
		require.Equal(t, []bool{true}, states)

		time.Sleep(15 * time.Second) //nolint:forbidigo // on the clock of the bubble
		failing = false
		missing, err := c.Missing(t.Context(), []string{"a2"})
		require.NoError(t, err)
		require.Equal(t, []string{"a2"}, missing)
		require.Equal(t, 6, asked)
		require.Equal(t, []bool{true, false, false}, states, "half open, then closed")
	})
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAURLThatCannotBeAskedIsRefused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "accounts", "ftp://x/accounts", "http:///accounts", "http://x/accounts?ids=1", "http://user:SECRET@x/accounts", "://"} {
		_, err := directory.New(directory.Config{URL: url})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "SECRET")
	}
}
