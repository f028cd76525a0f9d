package kafkatest

import "syscall"

// dieWithParent makes sure that no JVM outlives a test binary that is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
