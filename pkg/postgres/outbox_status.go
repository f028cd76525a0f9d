package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// mostCounted bounds how many unpublished rows a status counts.
const mostCounted = 100_000

// OutboxState is what an operator wants to know about the outbox.
type OutboxState struct {
	Known         bool          // the relay has run before
	Leader        string        // who holds the lease, or empty
	Epoch         int64         // how often the lease changed hands
	Paused        bool          // by an operator
	NeedsReanchor bool          // the cursor belongs to another cluster
	Backlog       bool          // the relay works off more than one round can hold
	Unpublished   int64         // committed and not noted as published; at least this many when Capped
	Capped        bool          // there are more than were counted
	OldestAge     time.Duration // how long the oldest of them has waited
	Quarantined   int64         // events that wait for a decision, or for the leader to carry it out
	BlockedKeys   int64         // keys of those
	Decided       int64         // decisions that the leader has not carried out
	LastID        int64         // the highest id that was published
}

// OutboxStatus asks the database how the named relay stands. The relay notes
// what it has published every now and then, so the last moments may be missing.
func OutboxStatus(ctx context.Context, url, relay string) (OutboxState, error) {
	var s OutboxState
	l, err := newLink(url, "prefsd outbox status", relaySettings)
	if err != nil {
		return s, err
	}
	defer l.drop(ctx)
	err = l.use(ctx, func(conn *pgx.Conn) (err error) {
		s, err = readOutbox(ctx, conn, relay)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("ask for the outbox's status: %w", err)
	}
	return s, nil
}

func readOutbox(ctx context.Context, conn *pgx.Conn, relay string) (s OutboxState, err error) {
	var owner string
	var held bool
	var oldest float64
	err = conn.QueryRow(ctx, outboxStatements["status"], relay, mostCounted+1).Scan(&s.Known, &owner, &held, &s.Epoch,
		&s.Paused, &s.NeedsReanchor, &s.Backlog, &s.Unpublished, &oldest, &s.Quarantined, &s.BlockedKeys, &s.Decided, &s.LastID)
	if held {
		s.Leader = owner
	}
	s.OldestAge = seconds(oldest)
	if s.Capped = s.Unpublished > mostCounted; s.Capped {
		s.Unpublished = mostCounted
	}
	return s, err
}
