package ctl_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/ctl"
)

// completed asks a real bash what it would offer for a line.
func completed(t *testing.T, script, line string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	require.NoError(t, err)
	words := strings.Split(line, " ")
	ask := script + "\nCOMP_WORDS=(" + strings.Join(words[:len(words)-1], " ") + " \"" + words[len(words)-1] + "\")\n" +
		"COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_prefsctl || true\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
	out, err := exec.CommandContext(t.Context(), bash, "--norc", "-eu", "-c", ask).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Fields(string(out))
}

func TestBashCompletesCommandsAndFlags(t *testing.T) {
	t.Parallel()
	r := prefsctl(t, nil, "completion", "bash")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Equal(t, []string{"migrate"}, completed(t, r.out, "prefsctl mi"))
	require.Subset(t, completed(t, r.out, "prefsctl "), []string{"verify", "doctor", "dlq", "outbox", "completion", "--json", "--dir"})
	require.Equal(t, []string{"up"}, completed(t, r.out, "prefsctl --json migrate u"))
	require.Equal(t, []string{"release"}, completed(t, r.out, "prefsctl outbox quarantine re"))
	require.Equal(t, []string{"--dry-run"}, completed(t, r.out, "prefsctl dlq redrive --dr"))
	require.Contains(t, completed(t, r.out, "prefsctl dlq redrive --"), "--kafka-brokers")
	require.Equal(t, []string{"zsh"}, completed(t, r.out, "prefsctl completion z"))
	require.Empty(t, completed(t, r.out, "prefsctl migrate up nothing"))
}

func TestOtherShellsGetTheSameCommands(t *testing.T) {
	t.Parallel()
	r := prefsctl(t, nil, "completion", "zsh")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, "bashcompinit")
	require.True(t, strings.HasSuffix(r.out, prefsctl(t, nil, "completion", "bash").out))
	r = prefsctl(t, nil, "completion", "fish")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, "complete -c prefsctl -n '__fish_seen_subcommand_from outbox; and __fish_seen_subcommand_from quarantine; and not __fish_seen_subcommand_from ls release drop' -a drop -d ")
	require.Contains(t, r.out, " -l dry-run -d ")
	require.Equal(t, ctl.Misused, prefsctl(t, nil, "completion", "cmd").code)
}
