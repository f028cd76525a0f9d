//go:build mutants

package mutant

import (
	"os"
	"sync"
	"sync/atomic"
)

// Variable names the environment variable that plants a defect in a process.
const Variable = "PREFS_MUTANT"

var (
	planted         atomic.Pointer[string]
	fromEnvironment = sync.OnceValue(func() string { return os.Getenv(Variable) }) //nolint:forbidigo // a switch for test builds only
)

// Is says whether the named defect is planted.
func Is(name string) bool {
	if p := planted.Load(); p != nil {
		return *p == name
	}
	return name == fromEnvironment()
}

// Plant plants a defect in this process, in place of the one that the
// environment names, until the returned function is called.
func Plant(name string) (uproot func()) {
	before := planted.Swap(&name)
	return func() { planted.Store(before) }
}
