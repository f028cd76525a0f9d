package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

// FuzzTakesGzip: however a client spells what it takes, an answer that it did not
// ask for is not compressed, and what it says last counts.
func FuzzTakesGzip(f *testing.F) {
	for _, in := range []string{"", "gzip", "gzip;q=0", "*", "identity;q=0.5, *;q=0.5", "br;q=1.0, gzip;q=0.8", "gzip; x=1;q=.5", ",;=q", "x-gzip;Q=1"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		takes := func(lines ...string) bool { return api.TakesGzip(http.Header{"Accept-Encoding": lines}) }
		got := takes(in)
		require.Equal(t, got, takes(strings.Split(in, ",")...), "lines are a list")
		require.Equal(t, got, takes(strings.ReplaceAll(in, ",", " ,\t")))
		if lower := strings.ToLower(in); len(lower) == len(in) && !strings.Contains(lower, "gzip") && !strings.Contains(lower, "*") {
			require.False(t, got)
		}
		require.False(t, takes(in, "gzip;q=0"))
		require.True(t, takes(in, "gzip, identity;q=0.999"))
	})
}

// FuzzWantsProblem: nobody gets problem details without naming them.
func FuzzWantsProblem(f *testing.F) {
	for _, in := range []string{"", "*/*", "application/problem+json", "application/json;q=0.5, application/problem+json;q=0.4", "application/*;q=x"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		wants := func(lines ...string) bool { return api.WantsProblem(http.Header{"Accept": lines}) }
		if !strings.Contains(strings.ToLower(in), "application/problem+json") {
			require.False(t, wants(in))
		}
		require.Equal(t, wants(in), wants(strings.Split(in, ",")...), "lines are a list")
		require.False(t, wants(in, "application/problem+json;q=0"))
		require.True(t, wants(in, "application/problem+json, application/json;q=0.999"))
	})
}

// FuzzFields: a mask that is taken names known fields alone, in any order and as
// often as it likes.
func FuzzFields(f *testing.F) {
	for _, in := range []string{"", "etag", "preferences.id,etag", "preferences,preferences.id", "preferences.", ",", "version,version"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, mask string) {
		same, ok := api.ReadFields(mask)
		paths := strings.Split(mask, ",")
		known := true
		for _, p := range paths {
			known = known && slices.Contains(api.KnownFields(), p)
		}
		require.Equal(t, known, ok)
		if !ok {
			return
		}
		slices.Sort(paths)
		require.True(t, same(mask+","+strings.Join(slices.Compact(paths), ",")))
	})
}
