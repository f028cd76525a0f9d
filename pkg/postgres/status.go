package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/status"
)

// recentLetters is how many dead letters a status names.
const recentLetters = 10

// Status is how the deployment stands whose outbox the named relay works off.
func (s *Store) Status(ctx context.Context, relay string) (status.Status, error) {
	var out status.Status
	err := s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		outbox, err := readOutbox(ctx, c, relay)
		if err != nil {
			return failure(c, step{name: "outbox status"}, false, err)
		}
		out = status.Status{Outbox: status.Outbox{
			Relay: relay, Known: outbox.Known, Leader: outbox.Leader, Epoch: outbox.Epoch, Paused: outbox.Paused,
			NeedsReanchor: outbox.NeedsReanchor, Backlog: outbox.Backlog, Unpublished: outbox.Unpublished, Capped: outbox.Capped,
			OldestAge: outbox.OldestAge, Quarantined: outbox.Quarantined, LastID: outbox.LastID,
		}}
		return readWork(ctx, c, &out)
	})
	return out, err
}

func readWork(ctx context.Context, c *pgx.Conn, out *status.Status) error {
	var compared, verified []status.Run
	err := send(ctx, c,
		run("now").first(&out.Time),
		opCounts(&out.Operations),
		run("lettercount").first(&out.DeadLetters.Count),
		all(run("letterpage", recentLetters), &out.DeadLetters.Recent, pgx.RowToStructByPos[status.DeadLetter]),
		all(run("lagpage"), &out.Partitions, scanPartition),
		all(run("lastrun", string(preferences.KindReconcile)), &compared, pgx.RowToStructByPos[status.Run]),
		all(run("lastrun", string(preferences.KindVerify)), &verified, pgx.RowToStructByPos[status.Run]))
	if err != nil {
		return err
	}
	out.Time = out.Time.UTC()
	for i := range out.DeadLetters.Recent {
		out.DeadLetters.Recent[i].Time = out.DeadLetters.Recent[i].Time.UTC()
	}
	out.Reconciliation, out.Verification = lastOf(compared), lastOf(verified)
	return nil
}

// lastOf returns the run that was found, if one was.
func lastOf(found []status.Run) *status.Run {
	if len(found) == 0 {
		return nil
	}
	found[0].End = found[0].End.UTC()
	return &found[0]
}

func scanPartition(row pgx.CollectableRow) (p status.Partition, err error) {
	var age float64
	err = row.Scan(&p.Group, &p.Topic, &p.Partition, &p.Records, &p.Owner, &p.Time, &age)
	p.Time, p.Age = p.Time.UTC(), seconds(age)
	return p, err
}

// OperationCounts counts operations by state: those that go on, and those that
// failed. The others are too many to be counted at every look.
func (s *Store) OperationCounts(ctx context.Context) (counts map[preferences.OperationState]int64, err error) {
	err = s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error { return send(ctx, c, opCounts(&counts)) })
	return counts, err
}

func opCounts(into *map[preferences.OperationState]int64) step {
	st := run("opcounts")
	st.read = func(rows pgx.Rows) error {
		counts := make(map[preferences.OperationState]int64)
		for rows.Next() {
			var state preferences.OperationState
			var n int64
			if err := rows.Scan(&state, &n); err != nil {
				return err
			}
			counts[state] = n
		}
		*into = counts
		return nil
	}
	return st
}

// lagsKept is how long is remembered what nobody says anything about any more: a
// partition of a topic or a group that is gone.
const lagsKept = 7 * 24 * time.Hour

// SaveLags writes down what a process that consumes for a group knows about the
// partitions that it has.
func (s *Store) SaveLags(ctx context.Context, group, owner string, lags []status.Lag) error {
	if len(lags) == 0 {
		return nil
	}
	topics, partitions, records := make([]string, len(lags)), make([]int32, len(lags)), make([]int64, len(lags))
	for i, l := range lags {
		topics[i], partitions[i], records[i] = l.Topic, int32(l.Partition), l.Records //nolint:gosec // the protocol's own type
	}
	return s.retry(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return send(ctx, c, run("begin"), run("lagsave", group, owner, topics, partitions, records, lagsKept.Seconds()), run(commit))
	})
}
