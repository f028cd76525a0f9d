package prefstest

import "syscall"

// dieWithUs ends a process with the test binary, however that ends.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
