package devpg

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePIDFileIsReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	const whole = "4711\n/data\n1700000000\n15432\n\n127.0.0.1\n  5432001  12\nready   \n"
	tests := map[string]struct {
		text string
		want pidFile
	}{
		"whole":         {whole, pidFile{pid: 4711, port: 15432, status: "ready"}},
		"empty":         {"", pidFile{}},
		"only a number": {"4711\n", pidFile{pid: 4711}},
		"no status yet": {"4711\n/data\n1700000000\n15432\n\n", pidFile{pid: 4711, port: 15432}},
		"half a port":   {"4711\n/data\n1700000000\n15", pidFile{pid: 4711, port: 15}},
		"stopping":      {"4711\n/data\n1\n15432\n/tmp\n*\n1 2\nstopping\n", pidFile{pid: 4711, port: 15432, status: "stopping"}},
		"single-user":   {"-4711\n/data\n", pidFile{pid: -4711}},
		"no numbers":    {"a\nb\nc\nd\n", pidFile{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, parsePIDFile(test.text))
		})
	}
}

func TestAProcessIsKnownByItsStateAndCommand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, state, command string }{
		"a server":     {"12 (postgres) S 1 12 12 0", "S", "postgres"},
		"a dead one":   {"12 (postgres) Z 1 12 12 0", "Z", "postgres"},
		"a nasty name": {"12 (a) S (b) R 1 12", "R", "a) S (b"},
		"nothing":      {"", "", ""},
		"cut off":      {"12 (postg", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, command := parseStat(test.text)
			require.Equal(t, test.state, state)
			require.Equal(t, test.command, command)
		})
	}
	require.False(t, runsPostgres(t.Context(), os.Getpid()))
}
