package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
)

func TestRefusedEventMovesToQuarantineWithWhatFollows(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	var bad atomic.Pointer[uuid.UUID]
	b.answers(func(m outbox.Message) error {
		if id := bad.Load(); id != nil && *id == m.EventID {
			return &outbox.Refused{Permanent: true, Err: fmt.Errorf("too \x00large")}
		}
		return nil
	})
	first := put(t, conn, "u", 1, nil)
	r := relay(t, source(t, url), b, quick())
	b.waitFor(t, 1)
	_, err := conn.Exec(t.Context(), "begin")
	require.NoError(t, err)
	culprit := put(t, conn, "u", 2, []byte("large"))
	bad.Store(&culprit)
	follower := put(t, conn, "u", 3, nil)
	put(t, conn, "v", 1, nil)
	_, err = conn.Exec(t.Context(), "commit")
	require.NoError(t, err)
	b.waitFor(t, 2)
	late := put(t, conn, "u", 4, nil)
	until(t, "the late one follows", func() bool { return scalar[int](t, conn, "select count(*) from outbox_quarantine") == 3 })
	type row struct {
		EventID   uuid.UUID
		Seq       int64
		Value     []byte
		Attempts  int
		Reason    string
		Error     string
		BlockedBy *uuid.UUID
	}
	rows, err := conn.Query(t.Context(), "select event_id, aggregate_seq, payload, attempts, reason, error, blocked_by from outbox_quarantine order by id")
	require.NoError(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	require.NoError(t, err)
	const behind = "an earlier event of its subject is in quarantine"
	require.Equal(t, []row{
		{culprit, 2, []byte("large"), 1, "refused", "refused for good: too ?large", nil},
		{follower, 3, nil, 0, "blocked", behind, &culprit},
		{late, 4, nil, 0, "blocked", behind, &culprit},
	}, got)
	require.Equal(t, 2, scalar[int](t, conn, "select count(*) from outbox"))
	for _, m := range b.messages() {
		require.Contains(t, []string{"u", "v"}, string(m.Key))
		require.NotContains(t, []uuid.UUID{culprit, follower, late}, m.EventID)
	}
	require.Equal(t, first, b.messages()[0].EventID)
	until(t, "it is counted", func() bool { return r.Status().Quarantined == 3 })
	s, err := postgres.OutboxStatus(t.Context(), url, "main")
	require.NoError(t, err)
	require.EqualValues(t, 3, s.Quarantined)
	require.EqualValues(t, 1, s.BlockedKeys)
	_, err = conn.Exec(t.Context(), "update outbox_quarantine set resolved_at = now(), decision = 'discard'")
	require.NoError(t, err)
	freed := put(t, conn, "u", 5, nil)
	require.Equal(t, freed, b.waitFor(t, 3)[2].EventID, "once all are resolved, the key is free again")
}

func TestRefusalsAreNotedAtTheRow(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	b.answers(func(outbox.Message) error { return &outbox.Refused{Err: fmt.Errorf("not now")} })
	put(t, conn, "u", 1, nil)
	relay(t, source(t, url), b, quick())
	until(t, "two refusals", func() bool { return scalar[int](t, conn, "select attempts from outbox") >= 2 })
	require.Equal(t, "refused for now: not now", scalar[string](t, conn, "select last_error from outbox"))
	b.answers(nil)
	b.waitFor(t, 1)
}

func TestUnreadableHeadersGoIntoQuarantine(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	for _, headers := range []string{`{}`, `[1]`, `[["a"]]`, `[["a", "!"]]`, `[[1, null]]`, `null`} {
		put(t, conn, headers, 1, nil)
		_, err := conn.Exec(t.Context(), "update outbox set headers = $1::text::jsonb where aggregateid = $1", headers)
		require.NoError(t, err)
	}
	put(t, conn, "good", 1, nil)
	relay(t, source(t, url), b, quick())
	b.waitFor(t, 1)
	until(t, "five are malformed", func() bool {
		return scalar[int](t, conn, "select count(*) from outbox_quarantine where reason = 'malformed'") == 5
	})
	require.Len(t, b.waitFor(t, 2), 2, "null is no header")
}
