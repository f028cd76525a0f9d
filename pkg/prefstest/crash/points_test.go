package crash

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryPointIsTried: a point that nobody dies at proves nothing.
func TestEveryPointIsTried(t *testing.T) {
	t.Parallel()
	all := slices.Concat(consumerPoints, relayPoints, stopPoints, crowdPoints, cleanPoints, undoPoints, stoppedPoints, reconcilePoints)
	for _, d := range apiDeaths {
		all = append(all, d.point)
	}
	var tried []string
	for _, p := range all {
		name, _, _ := strings.Cut(p, ":")
		tried = append(tried, name)
	}
	hit := regexp.MustCompile(`crashpoint\.Hit\("([^"]+)"\)`)
	var planted []string
	for _, dir := range []string{"pkg", "services"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", "..", dir), func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range hit.FindAllSubmatch(source, -1) {
				planted = append(planted, string(m[1]))
			}
			return err
		}))
	}
	sorted := func(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
	require.Equal(t, sorted(planted), sorted(tried))
}
