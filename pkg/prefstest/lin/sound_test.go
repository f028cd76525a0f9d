//go:build !mutants

package lin

// usual is how many operations a profile checks.
const usual = 38_000

// No defect is planted in api and consumer.
var tags []string

func environment() []string { return nil }
