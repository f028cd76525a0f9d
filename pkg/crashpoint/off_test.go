//go:build !crashpoints

package crashpoint_test

import (
	"testing"

	"github.com/prefsd/prefsd/pkg/crashpoint"
)

// TestNobodyDiesInAnOrdinaryBuild would not end if it were wrong.
func TestNobodyDiesInAnOrdinaryBuild(t *testing.T) {
	t.Setenv("PREFS_CRASH_AT", "record.fetched")
	crashpoint.Hit("record.fetched")
}
