//go:build mutants

package mutant

import (
	"os"
	"sync"
)

// Variable names the environment variable that plants a defect in a process.
const Variable = "PREFS_MUTANT"

var planted = sync.OnceValue(func() string { return os.Getenv(Variable) }) //nolint:forbidigo // a switch for test builds only

// Is says whether the named defect is planted.
func Is(name string) bool { return name == planted() }
