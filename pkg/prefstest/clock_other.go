//go:build !(linux && amd64)

package prefstest

import (
	"testing"
	"time"
)

// SetClock is known for Linux on amd64 alone; elsewhere it skips the test.
func (p *Process) SetClock(tb testing.TB, _ time.Duration) {
	tb.Helper()
	tb.Skipf("THE CLOCK OF %s CANNOT BE SET HERE", p.Name)
}
