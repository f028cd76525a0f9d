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

// watch starts a server that must not outlive this process.
func watch(cmd *exec.Cmd) error { return cmd.Start() }
