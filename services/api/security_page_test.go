package api_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheSecurityPageNamesTestsThatExist keeps the promises of docs/security.md
// tied to what holds them.
func TestTheSecurityPageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	require.NoError(t, err)
	var tests strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	}))
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(named), 40)
	for _, name := range named {
		require.Contains(t, tests.String(), "func "+name[1]+"(", "docs/security.md names a test that is not there")
	}
	for i := range 10 {
		require.Regexp(t, fmt.Sprintf(`(?m)^\| API%d .*\x60Test\w+\x60`, i+1), string(page), "each risk has its tests")
	}
}
