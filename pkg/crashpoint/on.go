//go:build crashpoints

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Variable names the environment variable that says where a process dies: the
// name of a point, or name:n for the n-th time that it comes there.
const Variable = "PREFS_CRASH_AT"

type fate struct {
	name string
	left atomic.Int64 // times until the process dies
}

var fromEnvironment = sync.OnceValue(func() *fate {
	f := &fate{}
	name, times, _ := strings.Cut(os.Getenv(Variable), ":") //nolint:forbidigo // a switch for test builds only
	f.name = name
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		n = 1
	}
	f.left.Store(n)
	return f
})

// Hit ends the process, as kill -9 does, if it was told to die here.
func Hit(name string) {
	f := fromEnvironment()
	if f.name != name || f.left.Add(-1) > 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing is left to tell if it fails
	select {}                                      // the signal takes a moment, and nothing may happen in it
}
