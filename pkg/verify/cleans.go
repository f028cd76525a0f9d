package verify

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/preferences"
)

// announced is the other half of I6: the parts of a clean are numbered and
// counted without a hole, and exactly one of them is final, once it has ended.
// Parts and operations come in the order of their cleans and are merged.
func (r *Report) announced(ctx context.Context, src Source, kept time.Time) error {
	parts, stop := pulled(src.Parts(ctx), "parts of cleans")
	defer stop()
	operations, stop := pulled(src.CleanOperations(ctx), "operations")
	defer stop()
	for parts.more || operations.more {
		a := announcement{clean: earlier(parts, operations), complete: kept}
		for operations.more && operations.head.Clean == a.clean {
			o := operations.head
			a.operation = &o
			operations.next()
		}
		for parts.more && cleanOf(parts.head) == a.clean {
			r.Events++
			r.part(&a, parts.head)
			parts.next()
		}
		r.Cleans++
		r.ended(&a)
	}
	return cmp.Or(parts.err, operations.err)
}

// earlier is the clean that comes next.
func earlier(parts *stream[events.Cleaned], operations *stream[CleanOperation]) Clean {
	switch {
	case !operations.more:
		return cleanOf(parts.head)
	case !parts.more || operations.head.compare(cleanOf(parts.head)) < 0:
		return operations.head.Clean
	default:
		return cleanOf(parts.head)
	}
}

func (c Clean) compare(other Clean) int {
	return cmp.Or(cmp.Compare(c.Cause, other.Cause), cmp.Compare(c.Entity.Type, other.Entity.Type), cmp.Compare(c.Entity.ID, other.Entity.ID))
}

func cleanOf(p events.Cleaned) Clean {
	return Clean{p.Cause, preferences.Entity{Type: p.EntityType, ID: p.EntityID}}
}

// announcement is what has been read of one clean.
type announcement struct {
	clean     Clean
	complete  time.Time // from then on nothing was pruned
	operation *CleanOperation
	last      *events.Cleaned
	finals    int
}

// part checks one part against the one before it.
func (r *Report) part(a *announcement, p events.Cleaned) {
	number, deleted := 1, int64(len(p.Lists))
	switch {
	case a.last != nil:
		number, deleted = a.last.Part+1, a.last.TotalDeleted+deleted
	case a.operation == nil || !unpruned(a.operation.Created, a.complete): // those before it may have been pruned
		number, deleted = p.Part, p.TotalDeleted
	}
	if p.Part != number {
		r.add("I6", a.clean.String(), "has part %d where %d belongs", p.Part, number)
	}
	if p.TotalDeleted != deleted {
		r.add("I6", a.clean.String(), "counts %d items up to part %d where %d belong", p.TotalDeleted, p.Part, deleted)
	}
	for _, l := range p.Lists {
		if !slices.Contains(p.AffectedUsers, l.UserID) {
			r.add("I6", a.clean.String(), "names list %d in part %d and not its user", l.ListID, p.Part)
		}
	}
	if p.Final {
		a.finals++
	}
	a.last = &p
}

// ended checks that a clean has one end, the last part, and says how it ended.
func (r *Report) ended(a *announcement) {
	o, last, want := a.operation, a.last, 1
	if o != nil && o.Open {
		want = 0
	}
	switch {
	case last == nil && want == 1 && unpruned(o.Created, a.complete):
		r.add("I6", a.clean.String(), "ended and never said so")
	case last == nil:
	case a.finals != want:
		r.add("I6", a.clean.String(), "has %d final parts where %d belong", a.finals, want)
	case want == 1 && !last.Final:
		r.add("I6", a.clean.String(), "goes on after its final part")
	case want == 1 && o != nil && last.Complete == o.Failed:
		r.add("I6", a.clean.String(), "says that complete is %t", last.Complete)
	}
}

// stream is a sequence that is read one by one.
type stream[T any] struct {
	head T
	more bool
	err  error
	what string
	pull func() (T, error, bool)
}

func pulled[T any](all iter.Seq2[T, error], what string) (s *stream[T], stop func()) {
	pull, stop := iter.Pull2(all)
	s = &stream[T]{pull: pull, what: what}
	s.next()
	return s, stop
}

func (s *stream[T]) next() {
	var err error
	if s.head, err, s.more = s.pull(); err != nil {
		s.more, s.err = false, fmt.Errorf("verify %s: %w", s.what, err)
	}
}
