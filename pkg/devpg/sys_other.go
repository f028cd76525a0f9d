//go:build !unix

package devpg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// errUnsupported is all that this package has to say on such a system.
var errUnsupported = errors.New("the PostgreSQL launcher needs a Unix system: start a server by other means and name its URL")

var (
	sigFast      = os.Interrupt
	sigImmediate = os.Kill
)

type account struct{ uid int }

func (*account) String() string                                   { return "this user" }
func accountFor(string) (*account, error)                         { return nil, errUnsupported }
func (*account) attr() *syscall.SysProcAttr                       { return nil }
func (*account) serverAttr() *syscall.SysProcAttr                 { return nil }
func (*account) give(string) error                                { return errUnsupported }
func owner(string) (int, bool)                                    { return 0, false }
func processExists(int) bool                                      { return true }
func lockFile(context.Context, string) (unlock func(), err error) { return nil, errUnsupported }
func startGuarded(*exec.Cmd) (release func(), err error)          { return nil, errUnsupported }
