//go:build unix

package devpg

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a shell that waits for this process to end and then shuts a server
// down. It reads a pipe whose other end only we hold: that end closes with us,
// however we end.
type guard struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

func newGuard(server int) (*guard, error) {
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", `read -r _; kill -INT "$0"`, strconv.Itoa(server)) //nolint:gosec // a number
	cmd.Dir, cmd.Env = "/", environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe of the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &guard{cmd: cmd, pipe: pipe}, nil
}

// release ends the guard of a server that has ended: the number may soon belong
// to another process. Only then does it let go of the pipe.
func (g *guard) release() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	_ = g.pipe.Close()
}
