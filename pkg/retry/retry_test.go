package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/retry"
)

func TestDelayDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	for failures, full := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, math.MaxInt: time.Minute,
	} {
		drawn := map[int64]bool{}
		for range 100 {
			d := retry.Delay(failures, time.Second, time.Minute)
			require.GreaterOrEqual(t, d, full/2, failures)
			require.LessOrEqual(t, d, full, failures)
			drawn[int64(d)] = true
		}
		require.Greater(t, len(drawn), 50, "half of it is chance")
	}
}
