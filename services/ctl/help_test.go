package ctl_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/services/ctl"
)

func TestEveryCommandTeaches(t *testing.T) {
	t.Parallel()
	taught := ctl.Taught()
	all := ctl.Commands(t)
	require.Len(t, taught, len(all), "each example has a command")
	call := regexp.MustCompile(`prefsctl [^)"]*`)
	vars := map[string]string{"PREFS_DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "PREFS_KAFKA_BROKERS": "127.0.0.1:1"}
	for _, command := range all {
		r := prefsctl(t, nil, append(strings.Fields(command), "--help")...)
		require.Equal(t, ctl.Done, r.code, command)
		require.Contains(t, r.out, "Example:", command)
		typed := call.FindString(taught[command])
		require.True(t, strings.HasPrefix(typed+" ", "prefsctl "+command+" "), "%s has the example of another command", command)
		require.NoError(t, ctl.Parses(vars, strings.Fields(typed)[1:]...), typed)
	}
}
