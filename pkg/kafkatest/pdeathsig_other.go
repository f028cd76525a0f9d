//go:build !linux

package kafkatest

import "syscall"

// dieWithParent has no equivalent here.
func dieWithParent() *syscall.SysProcAttr { return nil }
