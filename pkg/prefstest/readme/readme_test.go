// Package readme holds the tour of the README to what really happens.
package readme

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

const root = "../../.."

func TestMain(m *testing.M) {
	code := m.Run()
	prefstest.Cleanup()
	os.Exit(code)
}

var block = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// tour returns what the README lets a person type, and what it says is printed.
func tour(t *testing.T) (typed, printed string) {
	t.Helper()
	text, err := os.ReadFile(root + "/README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- tour:begin -->")
	require.True(t, found)
	body, _, found := strings.Cut(rest, "<!-- tour:end -->")
	require.True(t, found)
	for _, b := range block.FindAllStringSubmatch(body, -1) {
		if b[1] == "sh" {
			typed += b[2]
		} else {
			printed += b[2]
		}
	}
	return typed, printed
}

func TestTourPrintsWhatTheReadmeSays(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "kcat"} {
		if _, err := exec.LookPath(tool); err != nil {
			require.Empty(t, os.Getenv("CI"), "%s is missing", tool)
			t.Skipf("%s is missing", tool)
		}
	}
	typed, printed := tour(t)
	dir := t.TempDir()
	dev := prefstest.StartDev(t, dir, "--ephemeral")
	here := strings.NewReplacer(
		"http://127.0.0.1:8080", dev.APIURL,
		"http://127.0.0.1:8081", dev.AccountsURL,
		"127.0.0.1:9092", strings.Join(dev.Brokers, ","),
		"prefsctl token", "prefsctl token --dir "+dir,
	)
	run := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", here.Replace(typed))
	run.Dir = root
	var complaints strings.Builder
	run.Stderr = &complaints
	out, err := run.Output()
	require.NoError(t, err, "%s%s", out, complaints.String())
	require.Empty(t, cmp.Diff(printed, string(out)))
}
