package postgres

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/prefsd/prefsd/pkg/preferences"
)

// LetterState is what the inbox says about a dead letter.
type LetterState string

// States of dead letters.
const (
	LetterOpen       LetterState = "open"       // nothing has happened since
	LetterApplied    LetterState = "applied"    // its event was settled later
	LetterSuperseded LetterState = "superseded" // its event failed again: there is a newer letter
	LetterDiscarded  LetterState = "discarded"  // somebody gave it up
	LetterUnknown    LetterState = "unknown"    // the inbox does not go back so far, or is another consumer's
)

const (
	letterStates = `select n, coalesce(case
	  when i.outcome = 'discarded' then 'discarded'
	  when i.outcome = 'dead_lettered' and (i.partition, i.kafka_offset) = (l.partition, l.kafka_offset) then 'open'
	  when i.outcome = 'dead_lettered' then 'superseded'
	  when i.outcome is not null then 'applied' end, 'unknown')
	from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[]) with ordinality l (consumer, topic, event_id, partition, kafka_offset, n)
	left join inbox i using (consumer, topic, event_id) order by n`

	// A letter that the inbox knows nothing of is entered, so that it stays given
	// up for as long as the inbox remembers.
	letterDiscard = `insert into inbox as i (consumer, topic, event_id, partition, kafka_offset, outcome)
	select distinct on (consumer, topic, event_id) consumer, topic, event_id, partition, kafka_offset, 'discarded'
	from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[]) l (consumer, topic, event_id, partition, kafka_offset)
	order by consumer, topic, event_id, kafka_offset desc
	on conflict (consumer, topic, event_id) do update set outcome = 'discarded', processed_at = now()
	where i.outcome = 'dead_lettered' and (i.partition, i.kafka_offset) = (excluded.partition, excluded.kafka_offset)`
)

// columns are deliveries as the statements take them.
func columns(letters []preferences.Delivery) []any {
	n := len(letters)
	consumers, topics, ids := make([]string, n), make([]string, n), make([]string, n)
	partitions, offsets := make([]int32, n), make([]int64, n)
	for i, d := range letters {
		consumers[i], topics[i], ids[i] = d.Consumer, d.Topic, d.EventID
		partitions[i], offsets[i] = int32(d.Partition), d.Offset //nolint:gosec // the protocol's own type
	}
	return []any{consumers, topics, ids, partitions, offsets}
}

// LetterStates says what became of dead letters, each named by the delivery that
// made it one.
func LetterStates(ctx context.Context, db *sql.DB, letters []preferences.Delivery) ([]LetterState, error) {
	states := make([]LetterState, 0, len(letters))
	rows, err := db.QueryContext(ctx, letterStates, columns(letters)...)
	if err != nil {
		return nil, fmt.Errorf("look up dead letters: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		var state LetterState
		if err := rows.Scan(&n, &state); err != nil {
			return nil, fmt.Errorf("look up dead letters: %w", err)
		}
		states = append(states, state)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up dead letters: %w", err)
	}
	return states, nil
}

// DiscardLetters gives dead letters up and returns how many that were. Their
// events may still come again, from their owner: then they count as new.
func DiscardLetters(ctx context.Context, db *sql.DB, letters []preferences.Delivery) (int, error) {
	res, err := db.ExecContext(ctx, letterDiscard, columns(letters)...)
	if err != nil {
		return 0, fmt.Errorf("discard dead letters: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
