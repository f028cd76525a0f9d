package prefstest

import "syscall"

// dieWithUs ends a process with the test binary, however that ends. The kernel
// looks at the thread that forked it, and Go ends a thread only with a goroutine
// that ends locked to it: no code in a test binary may do that.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
