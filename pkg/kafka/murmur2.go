package kafka

import "encoding/binary"

// murmur2 is the hash of Kafka's Java client, so that producers in every
// language put a key into the same partition.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data)) //nolint:gosec // wraps as in the original
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data)
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	if len(data) > 0 {
		var tail [4]byte
		copy(tail[:], data)
		h = (h ^ binary.LittleEndian.Uint32(tail[:])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// partitionOf is the Java client's default for a key: the hash without its
// sign, modulo the number of partitions.
func partitionOf(key []byte, partitions int) int {
	return int(murmur2(key)&0x7fffffff) % partitions
}
