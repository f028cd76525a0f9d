//go:build mutants

package lin

import (
	"os"

	"github.com/prefsd/prefsd/pkg/mutant"
)

// usual is how many operations a profile checks: a defect shows soon.
const usual = 5_000

// tags and environment plant the defect of this process in api and consumer.
var tags = []string{"mutants"}

func environment() []string { return []string{mutant.Variable + "=" + os.Getenv(mutant.Variable)} }
