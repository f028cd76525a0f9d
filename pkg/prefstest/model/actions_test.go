package model

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is that of the repository.
const root = "../../.."

// TestActionsStandForWhatThereIs keeps the model beside the product: a statement or function that was renamed, or is gone,
// has to be looked at here as well.
func TestActionsStandForWhatThereIs(t *testing.T) {
	t.Parallel()
	actions := slices.Concat(
		slices.Collect(maps.Values(writing)), slices.Collect(maps.Values(consuming)), slices.Collect(maps.Values(sweeping)),
		slices.Collect(maps.Values(carrying)), slices.Collect(maps.Values(calling)), slices.Collect(maps.Values(relaying)), []action{endUndo},
	)
	known := 0
	for _, a := range actions {
		for _, place := range strings.Fields(a.stands) {
			require.True(t, exists(t, place), "%s stands for %s, which is not there", a.name, place)
			known++
		}
		require.NotEmpty(t, a.stands, a.name)
	}
	require.Greater(t, known, len(actions))
	require.False(t, exists(t, "statements.sql:guardtail"))
	require.False(t, exists(t, "postgres/write.go:pessimistic"))
}

// exists says whether a place is there: file.sql:statement or package/file.go:Function.
func exists(t *testing.T, place string) bool {
	t.Helper()
	file, name, found := strings.Cut(place, ":")
	require.True(t, found, place)
	look := `(?m)^func (\([^)]*\) )?` + regexp.QuoteMeta(name) + `\(`
	path := filepath.Join(root, "pkg", file)
	switch {
	case strings.HasSuffix(file, ".sql"):
		path, look = filepath.Join(root, "pkg", "postgres", file), `(?m)^-- name: `+regexp.QuoteMeta(name)+`$`
	case strings.HasPrefix(file, "services/"):
		path = filepath.Join(root, file)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return regexp.MustCompile(look).Match(text)
}
