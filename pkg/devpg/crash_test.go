//go:build unix

package devpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/devpg"
)

// await polls until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never seen: %s", what)
		}
	}
}

func postmaster(t *testing.T, dataDir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	require.NoError(t, err)
	return pid
}

// holder starts this test binary as a program that serves dir, and returns it
// with the URL that it printed.
func holder(t *testing.T, program, dir string, attr *syscall.SysProcAttr) (holding *exec.Cmd, at string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-hold", dir)
	cmd.SysProcAttr, cmd.Dir, cmd.Env = attr, "/", []string{"PATH=/usr/bin:/bin"}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("the program does not serve: %s", complaints.String())
	}
	return cmd, strings.TrimSpace(line)
}

func TestTheServerEndsWithAProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := filepath.Join(openDir(t), "pg")
	program, at := holder(t, self, dir, nil)
	do(t, at, `create table kept as select 42 as n`)

	require.NoError(t, program.Process.Kill())
	_ = program.Wait()
	// A start right after the crash waits for the old server to be done.
	next := start(t, devpg.Options{DataDir: dir})
	require.False(t, next.Adopted())
	require.Equal(t, "42", ask(t, next.URL(), `select n::text from kept`))
}

func TestAServerThatWasKilledStartsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "pg")
	s := start(t, devpg.Options{DataDir: dir})
	do(t, s.URL(), `create table kept as select 42 as n`)
	do(t, s.URL(), `checkpoint`)
	ended := s.Done()
	// Its file goes on saying that it is ready.
	require.NoError(t, syscall.Kill(postmaster(t, dir), syscall.SIGKILL))
	<-ended
	require.NoError(t, s.Start(t.Context()))
	require.Equal(t, "42", ask(t, s.URL(), `select n::text from kept`))
}

func TestAStaleFileThatNamesAnotherProcessIsIgnored(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "pg")
	first, err := devpg.Start(t.Context(), devpg.Options{DataDir: dir})
	require.NoError(t, err)
	require.NoError(t, first.Close())
	// The number has been given to a process that is no server: this one.
	stale := fmt.Sprintf("%d\n%s\n1\n%d\n\n127.0.0.1\n0\nready   \n", os.Getpid(), dir, first.Port())
	file := filepath.Join(dir, "postmaster.pid")
	require.NoError(t, os.WriteFile(file, []byte(stale), 0o600))
	second := start(t, devpg.Options{DataDir: dir})
	require.False(t, second.Adopted())
}

// needsRoot ends the test for others than root: who else would start a server
// as somebody else. The opposite case is what all other tests are then.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("about what root does")
	}
}

func TestRootServesAClosedDirectoryFromAnotherPlace(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	asked := filepath.Join(t.TempDir(), "pg") // closed: only root may enter the parents
	s, err := devpg.Start(t.Context(), devpg.Options{DataDir: asked})
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(s.DataDir()) })
	require.NotEqual(t, asked, s.DataDir())
	note, err := os.ReadFile(filepath.Join(asked, "MOVED.txt"))
	require.NoError(t, err)
	require.Contains(t, string(note), s.DataDir())
	do(t, s.URL(), `create table kept as select 42 as n`)
	require.NoError(t, s.Close())

	same, err := devpg.Start(t.Context(), devpg.Options{DataDir: asked})
	require.NoError(t, err)
	require.Equal(t, s.DataDir(), same.DataDir())
	require.Equal(t, "42", ask(t, same.URL(), `select n::text from kept`))

	require.NoError(t, os.RemoveAll(asked))
	_, err = devpg.Start(t.Context(), devpg.Options{DataDir: asked})
	require.ErrorContains(t, err, "stop that server first")
	require.NoError(t, same.Close())

	fresh, err := devpg.Start(t.Context(), devpg.Options{DataDir: asked})
	require.NoError(t, err)
	require.Equal(t, "", ask(t, fresh.URL(), `select coalesce(to_regclass('kept')::text, '')`), "deleting the directory deletes the data")
	require.NoError(t, fresh.Close())
}

func TestAnOrdinaryUserWithoutAHomeServesAndRootFollows(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	nobody := lookUp(t, "nobody")
	base := openDir(t)
	require.NoError(t, os.Chown(base, int(nobody.Uid), int(nobody.Gid)))
	dir := filepath.Join(base, "pg")
	program, at := holder(t, publicCopy(t), dir, &syscall.SysProcAttr{Credential: nobody})
	require.Equal(t, dir, ask(t, at, `show data_directory`))
	do(t, at, `create table kept as select 42 as n`)
	require.NoError(t, program.Process.Kill())
	_ = program.Wait()
	await(t, "the farewell of the server", func() bool {
		_, err := os.Stat(filepath.Join(dir, "postmaster.pid"))
		return errors.Is(err, os.ErrNotExist)
	})

	s := start(t, devpg.Options{DataDir: dir})
	require.Equal(t, "42", ask(t, s.URL(), `select n::text from kept`))
	info, err := os.Stat(filepath.Join(dir, "postmaster.pid"))
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.Equal(t, nobody.Uid, stat.Uid, "the server goes on as the owner of its data")
}

func lookUp(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// publicCopy copies this test binary to where every user can run it.
func publicCopy(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	from, err := os.Open(self)
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	path := filepath.Join(openDir(t), "holder")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	require.NoError(t, os.Chmod(path, 0o755))
	return path
}
