//go:build !linux

package prefstest

import "syscall"

func dieWithUs() *syscall.SysProcAttr { return nil }
