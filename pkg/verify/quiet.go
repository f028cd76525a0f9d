package verify

import (
	"context"
	"fmt"
	"time"
)

// Quiet checks I7 (no event is half done) and I9 (nothing waits), as far as a
// database shows them. Both hold once all is quiet. While work goes on, what has
// not waited longer than that is no finding.
func Quiet(ctx context.Context, src Source, longer time.Duration) (Report, error) {
	var r Report
	work, err := src.OpenWork(ctx, longer)
	if err != nil {
		return r, fmt.Errorf("verify open work: %w", err)
	}
	for e, err := range src.Effects(ctx, longer) {
		if err != nil {
			return r, fmt.Errorf("verify effects: %w", err)
		}
		r.settled(e)
	}
	r.none("open operations", work.Operations)
	r.none("failed operations", work.Failed)
	r.none("quarantined events", work.Quarantined)
	r.none("unpublished events", work.Unpublished)
	return r, nil
}

// Behind is a partition with records that have waited too long for a consumer.
type Behind struct {
	Group, Topic string
	Partition    int
	Records      int64
}

// Consumed is the part of I9 that is about consumers.
func Consumed(behind []Behind) Report {
	var r Report
	for _, b := range behind {
		r.add("I9", fmt.Sprintf("group %s", b.Group), "has left %d records waiting in %s/%d", b.Records, b.Topic, b.Partition)
	}
	return r
}

// settled is I7: what an event did and its mark in the inbox go together.
func (r *Report) settled(e Effect) {
	switch {
	case !e.Marked:
		r.add("I7", e.Cause, "took effect on %s %s and is not in the inbox", e.Entity.Type, e.Entity.ID)
	case e.Deletes && e.Applied && !e.Cleans:
		r.add("I7", e.Cause, "is in the inbox, and %s %s was never cleaned", e.Entity.Type, e.Entity.ID)
	}
}

func (r *Report) none(what string, n int) {
	if n > 0 {
		r.add("I9", what, "%d are left", n)
	}
}
