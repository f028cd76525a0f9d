package chaos

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// slope is the median of the slopes between any two points.
func slope(points []point) float64 {
	var all []float64
	for i, p := range points {
		for _, q := range points[i+1:] {
			if q.at > p.at {
				all = append(all, (q.value-p.value)/(q.at-p.at))
			}
		}
	}
	return median(all)
}

// middle is the median of the values.
func middle(points []point) float64 {
	all := make([]float64, len(points))
	for i, p := range points {
		all[i] = p.value
	}
	return median(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func TestASlopeIsSeenThroughPeaksAndNoise(t *testing.T) {
	t.Parallel()
	var steady, leaking []point
	for n := range 100 {
		noise := float64(n * 37 % 11)
		if n%4 == 0 {
			noise += 1000 // a quarter of the samples is far off
		}
		steady = append(steady, point{float64(n), 500 + noise})
		leaking = append(leaking, point{float64(n), 500 + noise + float64(n)})
	}
	require.InDelta(t, 0, slope(steady), 0.05)
	require.InDelta(t, 1, slope(leaking), 0.1)
	require.InDelta(t, 506, middle(steady), 6)
	require.Zero(t, slope(steady[:1]))
}
