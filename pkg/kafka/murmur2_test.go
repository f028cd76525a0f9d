package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The vectors are those of the Java client's own tests.
func TestMurmur2IsTheJavaClients(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		require.Equal(t, want, int32(murmur2([]byte(key))), key)
	}
}

func FuzzPartitionIsInRange(f *testing.F) {
	f.Add([]byte("user-1"), 12)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, key []byte, partitions int) {
		if partitions < 1 {
			t.Skip()
		}
		p := partitionOf(key, partitions)
		require.GreaterOrEqual(t, p, 0)
		require.Less(t, p, partitions)
		require.Equal(t, p, partitionOf(key, partitions))
	})
}
