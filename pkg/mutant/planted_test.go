//go:build mutants

package mutant_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
)

func TestTheEnvironmentPlantsOneDefect(t *testing.T) {
	t.Parallel()
	name := os.Getenv(mutant.Variable)
	require.True(t, mutant.Is(name))
	require.False(t, mutant.Is(name+"-more"))
}
