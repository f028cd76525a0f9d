package command

import (
	"runtime/debug"

	"github.com/prefsd/prefsd/pkg/config"
)

const (
	// heapGrowth is how much the heap may grow between two collections, in
	// percent of what is live. A service's few MB are live for long and most of
	// the rest dies with its request: at Go's 100 % a sixth of the CPU goes into
	// marking the same few MB again and again.
	heapGrowth = 400
	// memoryGoal is where the heap stops growing so freely, in bytes: a flood of
	// large requests must not hold four times what it needs.
	memoryGoal = 256 << 20
)

// tuneMemory sets how the garbage collector works, unless the environment does.
func tuneMemory(lookup config.Lookup) {
	if _, set := lookup("GOGC"); !set {
		debug.SetGCPercent(heapGrowth)
	}
	if _, set := lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryGoal)
	}
}
