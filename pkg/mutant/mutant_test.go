//go:build !mutants

package mutant_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
)

func TestNoDefectInAnOrdinaryBuild(t *testing.T) {
	t.Parallel()
	require.False(t, mutant.Is("relay-by-id"))
	require.False(t, mutant.Is(""))
}
