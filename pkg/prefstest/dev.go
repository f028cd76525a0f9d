package prefstest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Dev is the one-command environment, started as a user starts it.
type Dev struct {
	*Process
	APIURL           string   `json:"apiUrl"`
	AdminURL         string   `json:"adminUrl"`
	ConsumerAdminURL string   `json:"consumerAdminUrl"`
	AccountsURL      string   `json:"accountsUrl"`
	WebURL           string   `json:"webUrl"`
	Brokers          []string `json:"brokers"`
	DatabaseURL      string   `json:"databaseUrl"`
	Tokens           struct{ Alice, Bob, System, Admin string }
}

// brokers are those that somebody else has started.
type brokers []string

// Addrs implements kafkatest.Broker.
func (b brokers) Addrs() []string { return b }

// Stage is where the environment plays, to look at what it did.
func (d *Dev) Stage(tb testing.TB) *Stage {
	tb.Helper()
	return NewStageAt(tb, d.DatabaseURL, brokers(d.Brokers))
}

// StartDev runs cmd/dev on any free ports and waits for its dev.json.
func StartDev(tb testing.TB, dir string, args ...string) *Dev {
	tb.Helper()
	const free = "127.0.0.1:0"
	args = append([]string{
		"--dir", dir, "--api-addr", free, "--admin-addr", free, "--consumer-admin-addr", free, "--accounts-addr", free, "--web-addr", free, "--kafka-addr", free,
	}, args...)
	d := &Dev{Process: Start(tb, "dev", nil, args...)}
	file := filepath.Join(dir, "dev.json")
	Eventually(tb, 2*startPatience, "dev.json is there", func() bool {
		select {
		case <-d.exited:
			tb.Fatalf("dev ended at its start:\n%s", d.Tail())
		default:
		}
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, d) == nil
	})
	require.NotEmpty(tb, d.APIURL)
	return d
}
