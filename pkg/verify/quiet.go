package verify

import (
	"context"
	"fmt"
)

// Quiet checks I7 and I9 as far as a database shows them: when all is quiet,
// nothing is left half done.
func Quiet(ctx context.Context, src Source) (Report, error) {
	work, err := src.OpenWork(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("verify open work: %w", err)
	}
	var r Report
	for what, n := range map[string]int{"open operations": work.Operations, "quarantined events": work.Quarantined, "failed operations": work.Failed} {
		if n > 0 {
			r.add("I9", what, "%d are left", n)
		}
	}
	return r, nil
}
