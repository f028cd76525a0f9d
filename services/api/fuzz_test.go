package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/api"
)

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
