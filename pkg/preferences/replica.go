package preferences

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Reader reads lists where they may be older than the newest write.
type Reader interface {
	Head(ctx context.Context, userID, domain string) (List, error)
	List(ctx context.Context, key Key) (List, error)
}

// AnyVersion is asked for by readers who need the newest one.
const AnyVersion int64 = -1

// Bounds of what a replica that is away costs a read.
const (
	replicaPatience = 500 * time.Millisecond // how long it may take
	replicaRest     = 5 * time.Second        // how long it is left alone after a failure
)

// replica is a Reader that nobody depends on.
type replica struct {
	Reader

	now       func() time.Time
	restUntil atomic.Int64 // in nanoseconds since 1970
}

// HeadAtLeast is Head for readers who know a version: a replica that has reached
// it may answer. AnyVersion asks for the newest. A version that the list has
// never reached is NotFound.
func (s *Service) HeadAtLeast(ctx context.Context, userID, domain string, least int64) (List, error) {
	return s.atLeast(ctx, domain, least, func(ctx context.Context, from Reader) (List, error) { return from.Head(ctx, userID, domain) })
}

// ListAtLeast is List as HeadAtLeast is Head.
func (s *Service) ListAtLeast(ctx context.Context, userID, domain string, least int64) (List, error) {
	return s.atLeast(ctx, domain, least, func(ctx context.Context, from Reader) (List, error) {
		return from.List(ctx, Key{UserID: userID, Domain: domain})
	})
}

func (s *Service) atLeast(ctx context.Context, domain string, least int64, read func(context.Context, Reader) (List, error)) (List, error) {
	if _, err := s.domains.Find(domain); err != nil {
		return List{}, err
	}
	if least != AnyVersion && s.replica != nil {
		if l, ok := s.replica.try(ctx, read); ok && l.Version >= least {
			return l, nil
		}
	}
	l, err := read(ctx, s.store)
	if err == nil {
		err = l.Reached(least)
	}
	return l, err
}

// try asks the replica; false if it does not answer.
func (r *replica) try(ctx context.Context, read func(context.Context, Reader) (List, error)) (List, bool) {
	if r.now().UnixNano() < r.restUntil.Load() {
		return List{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, replicaPatience)
	defer cancel()
	l, err := read(ctx, r.Reader)
	if err != nil {
		r.restUntil.Store(r.now().Add(replicaRest).UnixNano())
	}
	return l, err == nil
}

// Reached says that a list has, or has had, a version; else it is NotFound.
func (l List) Reached(version int64) error {
	if l.Version >= version {
		return nil
	}
	return fault.New(fault.NotFound, fault.ReasonNotFound, "The list has never reached that version.").
		Violating(fault.Violation{Field: "minVersion", Description: "must be a version that an answer about this list has named"})
}
