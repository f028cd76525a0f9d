package kafkatest

import "syscall"

// dieWithParent makes sure that no JVM outlives a test binary that is killed.
// As in pkg/prefstest, no goroutine may end locked to its thread.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
