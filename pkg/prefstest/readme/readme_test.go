// Package readme holds what the documents let a person type to what really
// happens.
package readme

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/prefstest"
)

const root = "../../../"

var update = flag.Bool("update", false, "write what is printed into the documents")

func TestMain(m *testing.M) {
	code := m.Run()
	prefstest.Cleanup()
	os.Exit(code)
}

// page is a document whose tour runs from its first block to its last.
type page struct {
	path   string
	blocks []block
}

// block is what a person types, and what is printed then, if anything.
type block struct{ typed, printed string }

const begin, end = "<!-- tour:begin -->", "<!-- tour:end -->"

var blocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$(?:\n```\n(.*?)^```$)?")

func read(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(root + path)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	body, _, found := strings.Cut(rest, end)
	require.True(t, found)
	p := page{path: path}
	for _, b := range blocks.FindAllStringSubmatch(body, -1) {
		p.blocks = append(p.blocks, block{b[1], b[2]})
	}
	require.NotEmpty(t, p.blocks)
	return p
}

// rewrite puts what was printed into the document.
func (p page) rewrite(t *testing.T, printed []string) {
	t.Helper()
	text, err := os.ReadFile(root + p.path)
	require.NoError(t, err)
	before, rest, _ := strings.Cut(string(text), begin)
	body, after, _ := strings.Cut(rest, end)
	n := 0
	body = blocks.ReplaceAllStringFunc(body, func(string) string {
		b := "```sh\n" + p.blocks[n].typed + "```"
		if printed[n] != "" {
			b += "\n```\n" + printed[n] + "```"
		}
		n++
		return b
	})
	require.NoError(t, os.WriteFile(root+p.path, []byte(before+begin+body+end+after), 0o600))
}

// between parts the output of the blocks, which one shell runs so that each can
// use what those before it have defined.
const between = "=== the next block ==="

// begun is an environment of which the pages speak.
func begun(t *testing.T) (dev *prefstest.Dev, dir string) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "kcat"} {
		if _, err := exec.LookPath(tool); err != nil {
			require.Empty(t, os.Getenv("CI"), "%s is missing", tool)
			t.Skipf("%s is missing", tool)
		}
	}
	dir = t.TempDir()
	return prefstest.StartDev(t, dir, "--ephemeral"), dir
}

// run types every block into a shell beside an environment, and returns what
// each printed.
func (p page) run(t *testing.T, dev *prefstest.Dev, dir string) []string {
	t.Helper()
	here := strings.NewReplacer(
		"http://127.0.0.1:8080", dev.APIURL,
		"http://127.0.0.1:8081", dev.AccountsURL,
		"127.0.0.1:9092", strings.Join(dev.Brokers, ","),
		"prefsctl token", "prefsctl token --dir "+dir,
		"--dir .dev", "--dir "+dir,
	)
	back := strings.NewReplacer(dev.APIURL, "http://127.0.0.1:8080", dev.AccountsURL, "http://127.0.0.1:8081")
	var script strings.Builder
	for _, b := range p.blocks {
		fmt.Fprintf(&script, "%s\necho '%s'\n", here.Replace(b.typed), between)
	}
	run := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
	run.Dir = root
	var complaints bytes.Buffer
	run.Stderr = &complaints
	out, err := run.Output()
	require.NoError(t, err, "%s%s", out, complaints.String())
	// Headers end in CRLF.
	printed := strings.Split(strings.ReplaceAll(back.Replace(string(out)), "\r\n", "\n"), between+"\n")
	require.Len(t, printed, len(p.blocks)+1)
	return printed[:len(p.blocks)]
}

// changing is what differs from run to run: ids, times, and what tags and tokens
// are.
var changing = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}` +
	`|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z` +
	`|"([a-z]*[eE]tag|requestId|(nextPage|sync)Token)":"[^"]+"|(?i:etag): "[^"]+"`)

// TestPagesPrintWhatTheySay: whoever has read one page goes on to the next, in
// the same environment.
func TestPagesPrintWhatTheySay(t *testing.T) {
	t.Parallel()
	dev, dir := begun(t)
	for _, path := range []string{"README.md", "docs/api-tour.md"} {
		p := read(t, path)
		printed := p.run(t, dev, dir)
		if *update {
			p.rewrite(t, printed)
			continue
		}
		for i, b := range p.blocks {
			want, got := changing.ReplaceAllString(b.printed, "…"), changing.ReplaceAllString(printed[i], "…")
			require.Empty(t, cmp.Diff(want, got), "%s, block %d:\n%s", path, i+1, b.typed)
		}
	}
}
