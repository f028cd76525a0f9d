//go:build mutants

package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
	"github.com/prefsd/prefsd/pkg/pgtest"
)

//nolint:paralleltest // a defect is planted in the whole process
func TestMutantNoBucketIsCaught(t *testing.T) {
	h := openUnchecked(t, pgtest.New(t))
	defer mutant.Plant("no-bucket")()
	deleteBehindAWriter(t, h)
	found := h.findings(t)
	require.NotEmpty(t, found)
	require.Equal(t, "I2", found[0].Invariant)
}
