package httpd_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/httpd"
)

// FuzzTakesGzip: however a client spells what it takes, an answer that it did not
// ask for is not compressed, and what it says last counts.
func FuzzTakesGzip(f *testing.F) {
	for _, in := range []string{"", "gzip", "gzip;q=0", "*", "identity;q=0.5, *;q=0.5", "br;q=1.0, gzip;q=0.8", "gzip; x=1;q=.5", ",;=q", "x-gzip;Q=1"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		takes := func(lines ...string) bool { return httpd.TakesGzip(http.Header{"Accept-Encoding": lines}) }
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
