package devpg

import (
	"os/exec"
	"syscall"
)

// serverAttr keeps the server apart from the terminal, whose Ctrl-C is for us to
// pass on, and has the kernel shut it down when this process dies.
func (a *account) serverAttr() *syscall.SysProcAttr {
	attr := a.attr()
	attr.Setpgid = true
	attr.Pdeathsig = sigFast
	return attr
}

// startGuarded starts a server that must not outlive this process. Release is
// called once it has ended.
func startGuarded(cmd *exec.Cmd) (release func(), err error) { return func() {}, cmd.Start() }
