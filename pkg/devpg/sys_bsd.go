//go:build unix && !linux

package devpg

import (
	"errors"
	"os/exec"
	"syscall"
)

// serverAttr keeps the server apart from the terminal, whose Ctrl-C is for us to
// pass on.
func (a *account) serverAttr() *syscall.SysProcAttr {
	attr := a.attr()
	attr.Setpgid = true
	return attr
}

// startGuarded starts a server that must not outlive this process. There is no
// signal for that here, so a guard of its own sees to it. Release is called once
// the server has ended.
func startGuarded(cmd *exec.Cmd) (release func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g, err := newGuard(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return g.release, nil
}
