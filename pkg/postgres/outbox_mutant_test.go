//go:build mutants

package postgres_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/mutant"
)

//nolint:paralleltest // a defect is planted in the whole process
func TestMutantRelaysAreCaught(t *testing.T) {
	for name, symptom := range map[string]string{
		"relay-by-id":        "is lost",
		"relay-by-watermark": "came after",
	} {
		t.Run(name, func(t *testing.T) {
			defer mutant.Plant(name)()
			c := newChaos(t)
			c.run(t)
			found := c.violations(t)
			t.Logf("%d violations", len(found))
			require.NotEmpty(t, found, "the defect went unnoticed")
			require.True(t, strings.Contains(strings.Join(found, "\n"), symptom), "the suite blames something else: %v", found)
		})
	}
}
