package dev

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/prefsd/prefsd/services/ctl"
)

// tour is what a person reads once everything runs: where the parts are, tokens,
// and lines to paste.
type tour struct {
	env     ctl.Environment
	dir     string
	cleaned string // the topic of preferences.cleaned
	took    time.Duration

	ownBroker bool // it may be stopped
}

func (t tour) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nprefsd is up after %s. Ctrl-C stops all of it.\n\n", t.took.Round(100*time.Millisecond))
	for _, row := range [][2]string{
		{"in a browser", t.env.WebURL + " (" + t.env.WebURL + "/operator for operators)"},
		{"API", t.env.APIURL + " (described at " + t.env.APIURL + "/docs)"},
		{"accounts", t.env.AccountsURL + "/accounts"},
		{"health, metrics", t.env.AdminURL + "/readyz, " + t.env.ConsumerAdminURL + "/readyz (and /metrics)"},
		{"Kafka", strings.Join(t.env.Brokers, ",")},
		{"PostgreSQL", t.env.DatabaseURL},
		{"all of this", t.dir + "/" + ctl.EnvironmentFile},
	} {
		fmt.Fprintf(&b, "  %-16s %s\n", row[0], row[1])
	}
	b.WriteString("\nTokens\n\n")
	for _, row := range [][2]string{
		{"alice", t.env.Tokens.Alice}, {"bob", t.env.Tokens.Bob}, {"system", t.env.Tokens.System}, {"admin", t.env.Tokens.Admin},
	} {
		fmt.Fprintf(&b, "  %-8s %s\n", row[0], row[1])
	}
	b.WriteString("\nTry it\n")
	for i, step := range t.steps() {
		fmt.Fprintf(&b, "\n  %d. %s\n%s\n", i+1, step.why, step.command)
	}
	if t.ownBroker {
		fmt.Fprintf(&b, "\nTake the broker away, save, and bring it back\n\n  go run ./cmd/dev broker stop --dir %[1]s\n  go run ./cmd/dev broker start --dir %[1]s\n", t.dir)
	}
	b.WriteString("\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// step is one line to paste.
type step struct {
	why     string
	command string
}

func (t tour) steps() []step {
	auth := "-H 'Authorization: Bearer " + t.env.Tokens.Alice + "'"
	body := `{"domain":"accounts","preferences":[{"entityId":"acc-001"},{"entityId":"acc-003"},{"entityId":"acc-004"},{"entityId":"acc-002"}]}`
	list := fmt.Sprintf("%s '%s/preferences?domain=accounts'", auth, t.env.APIURL)
	return []step{
		{
			"Alice saves an order.",
			fmt.Sprintf("curl -sS -X PUT %s -H 'Content-Type: application/json' -d '%s' '%s/preferences:batchReplace'", auth, body, t.env.APIURL),
		},
		{
			"She lists it. Send its ETag back (-H 'If-None-Match: \"...\"') and the answer is 304.",
			"curl -sS -i " + list,
		},
		{
			"The owner deletes an account: list again, it is gone and the gap is closed.",
			fmt.Sprintf("curl -sS -i -X DELETE '%s/accounts/acc-003'", t.env.AccountsURL),
		},
		{
			"Everybody is told.",
			t.watch(),
		},
	}
}

// watch is the command that shows the events about cleaned lists: kcat's where
// there is one, else our own.
func (t tour) watch() string {
	if _, err := exec.LookPath("kcat"); err == nil {
		return fmt.Sprintf("kcat -C -q -b %s -t %s -o beginning -e", strings.Join(t.env.Brokers, ","), t.cleaned)
	}
	return fmt.Sprintf("go run ./cmd/prefsctl topics tail %s --dir %s", t.cleaned, t.dir)
}
