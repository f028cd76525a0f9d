//go:build unix

package devpg

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sleeper starts a process in the place of a server, and returns what ended it.
func sleeper(t *testing.T) (pid int, ended <-chan syscall.Signal) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	require.NoError(t, cmd.Start())
	end := make(chan syscall.Signal, 1)
	go func() {
		defer close(end)
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
			end <- status.Signal()
		}
	}()
	return cmd.Process.Pid, end
}

func TestTheGuardShutsTheServerDownWhenWeAreGone(t *testing.T) {
	t.Parallel()
	pid, ended := sleeper(t)
	g, err := newGuard(pid)
	require.NoError(t, err)
	require.NoError(t, g.pipe.Close()) // as the end of this process would
	require.Equal(t, sigFast, <-ended)
	require.NoError(t, g.cmd.Wait())
}

func TestAReleasedGuardLeavesTheNumberAlone(t *testing.T) {
	t.Parallel()
	pid, ended := sleeper(t)
	g, err := newGuard(pid)
	require.NoError(t, err)
	g.release()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Equal(t, syscall.SIGKILL, <-ended)
}

func TestOnlyAbandonedDirectoriesAreSwept(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dead, ended := sleeper(t)
	require.NoError(t, syscall.Kill(dead, syscall.SIGKILL))
	<-ended
	leave := func(pid int, name string, age time.Duration, server int) string {
		dir := filepath.Join(base, temporaryPrefix+strconv.Itoa(pid)+"-"+name)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o755))
		if server != 0 {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "postmaster.pid"), fmt.Appendf(nil, "%d\n", server), 0o600))
		}
		then := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(dir, then, then))
		return dir
	}
	kept := []string{
		leave(os.Getpid(), "alive", 2*sweepAfter, 0),
		leave(dead, "young", 0, 0),
		leave(dead, "served", 2*sweepAfter, os.Getpid()),
	}
	swept := []string{
		leave(dead, "left", 2*sweepAfter, 0),
		leave(dead, "crashed", 2*sweepAfter, dead),
	}
	foreign := filepath.Join(base, temporaryPrefix+"notes")
	require.NoError(t, os.Mkdir(foreign, 0o755))
	sweep(base)
	for _, dir := range append(kept, foreign) {
		require.DirExists(t, dir)
	}
	for _, dir := range swept {
		require.NoDirExists(t, dir)
	}
}
