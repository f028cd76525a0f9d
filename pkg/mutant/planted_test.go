//go:build mutants

package mutant_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
)

func TestTheEnvironmentPlantsOneDefect(t *testing.T) {
	t.Setenv(mutant.Variable, "one")
	require.True(t, mutant.Is("one"))
	require.False(t, mutant.Is("another"))
}
