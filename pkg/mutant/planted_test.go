//go:build mutants

package mutant_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
)

func TestMutantIsPlantedAndUprooted(t *testing.T) { //nolint:paralleltest // what is planted is planted for the process
	require.False(t, mutant.Is("one"))
	uproot := mutant.Plant("one")
	require.True(t, mutant.Is("one"))
	require.False(t, mutant.Is("another"))
	uproot()
	require.False(t, mutant.Is("one"))
}
