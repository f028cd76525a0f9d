package chaos

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// report is what a person reads of a long run.
type report struct {
	name   string
	seed   uint64
	began  time.Time
	faults map[string]int
	rounds []roundLine
	work   workTotal
	notes  []string // further sections
}

// roundLine is one round: what it did, and what was looked at at its end.
type roundLine struct {
	Began                          time.Time
	Faults, Saves                  int
	Lists, Changes, Events, Cleans int // as of its end
	Quiet                          time.Duration
}

type workTotal struct{ saves, deleted, users, cleans, undos, compared int }

// newReport begins a report, which is written when the test ends, however it
// does.
func newReport(t *testing.T, name string, seed uint64) *report {
	t.Helper()
	r := &report{name: name, seed: seed, began: time.Now(), faults: map[string]int{}}
	dir := os.Getenv("REPORTS")
	require.NotEmpty(t, dir, "REPORTS is the directory of reports; make sets it")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	file := filepath.Join(dir, fmt.Sprintf("%s-%s-seed-%d.md", name, r.began.UTC().Format("20060102-150405"), seed))
	t.Cleanup(func() {
		require.NoError(t, os.WriteFile(file, []byte(r.text(t.Failed())), 0o600))
		t.Logf("the report is %s", file)
	})
	return r
}

func (r *report) count(kind string) { r.faults[kind]++ }

func (r *report) add(line roundLine, j *job) {
	r.rounds = append(r.rounds, line)
	r.work.saves += line.Saves
	r.work.deleted += j.deleted
	r.work.users += len(j.gone)
	r.work.cleans += j.cleans
	r.work.undos += j.undos
	r.work.compared += j.compared
}

// text is the report in Markdown.
func (r *report) text(failed bool) string {
	var b strings.Builder
	result := "green: every promise held after every round"
	if failed {
		result = "**FAILED**: the log of the run says what"
	}
	fmt.Fprintf(&b, "# %s, seed %d\n\nBegan %s, lasted %s. Result: %s.\n\n", r.name, r.seed, r.began.UTC().Format(time.RFC3339),
		time.Since(r.began).Round(time.Second), result)
	fmt.Fprintf(&b, "## Work\n\n| what | how often |\n|---|--:|\n")
	for _, row := range []struct {
		what string
		n    int
	}{
		{"saves acknowledged, each found in the history", r.work.saves},
		{"accounts deleted by their owner", r.work.deleted},
		{"users deleted", r.work.users},
		{"bulk cleans by an operator", r.work.cleans},
		{"of those cancelled or undone", r.work.undos},
		{"comparisons with the owner", r.work.compared},
	} {
		fmt.Fprintf(&b, "| %s | %d |\n", row.what, row.n)
	}
	total := 0
	fmt.Fprintf(&b, "\n## Faults\n\n| fault | times |\n|---|--:|\n")
	for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", kind, r.faults[kind])
		total += r.faults[kind]
	}
	fmt.Fprintf(&b, "| **in all** | **%d** |\n", total)
	r.looks(&b)
	for _, note := range r.notes {
		b.WriteString("\n" + note)
	}
	return b.String()
}

// looks is the table of rounds.
func (r *report) looks(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Looks\n\nAfter each round: nothing waits any more (I9, within 30 s), every version has its event on the topic and in order (I3-I5), "+
		"every clean is announced once (I6), nothing is listed that counts as deleted (I2), lists are dense and replay from their history (I1, I8), "+
		"the inbox is whole (I7), tags tell (I10), sums agree (I11), every acknowledged save is there (I12).\n\n")
	fmt.Fprintf(b, "| round | at | faults | saves | lists | versions | events | cleans | at rest, and all read, after |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, l := range r.rounds {
		fmt.Fprintf(b, "| %d | %s | %d | %d | %d | %d | %d | %d | %s |\n", i+1, l.Began.UTC().Format(time.TimeOnly), l.Faults, l.Saves, l.Lists, l.Changes,
			l.Events, l.Cleans, l.Quiet.Round(100*time.Millisecond))
	}
}
