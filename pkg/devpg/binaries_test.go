package devpg

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheHighestVersionIsFoundFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, version := range []string{"9.6", "15", "18", "16"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, version, "bin"), 0o755))
	}
	var versions []string
	for _, dir := range newestFirst(filepath.Join(root, "*", "bin")) {
		versions = append(versions, filepath.Base(filepath.Dir(dir)))
	}
	require.Equal(t, []string{"18", "16", "15", "9.6"}, versions)
}

// program writes a shell script in place of a server's program.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func TestBinariesAreTriedBeforeTheyAreTrusted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script, want string
		major        int
	}{
		"fine":          {script: `echo "postgres (PostgreSQL) 18.4"`},
		"a beta":        {script: `echo "postgres (PostgreSQL) 19beta1"`},
		"with a suffix": {script: `echo "postgres (PostgreSQL) 15.18 (Debian 15.18-1)"`, major: 15},
		"another major": {script: `echo "postgres (PostgreSQL) 18.4"`, major: 15, want: "cannot read data of version 15"},
		"too old":       {script: `echo "postgres (PostgreSQL) 14.9"`, want: "older than 15"},
		"broken":        {script: `echo "no such library" >&2; exit 127`, want: "no such library"},
		"no server":     {script: `echo "something else"`, want: "names no version"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			program(t, dir, "initdb", "exit 1")
			program(t, dir, "postgres", test.script)
			bin, err := inspect(t.Context(), dir, nil, test.major)
			if test.want != "" {
				require.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, dir, bin.dir)
			require.NotEmpty(t, bin.version)
		})
	}
}

func TestAClientPackageIsNoServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program(t, dir, "psql", "exit 0")
	require.False(t, hasServer(dir))
	program(t, dir, "initdb", "exit 0")
	require.False(t, hasServer(dir))
	program(t, dir, "postgres", "exit 0")
	require.True(t, hasServer(dir))
}

func TestPortsAreBelowThoseOfOutgoingConnections(t *testing.T) {
	t.Parallel()
	for range 20 {
		port, err := freePort(t.Context())
		require.NoError(t, err)
		require.Greater(t, port, 1024)
		require.Less(t, port, 32768)
	}
}
