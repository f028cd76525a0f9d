package postgres_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
)

func TestRecallCountsEventsThatAreNowhere(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, s := connect(t, url), source(t, url)
	nobody, err := s.Recall(t.Context(), outbox.Memory{Epoch: 1, Cursor: outbox.Cursor{Snapshot: "1:1:"}, Events: []uuid.UUID{uuid.New()}})
	require.NoError(t, err)
	require.Equal(t, outbox.Recalled{Gone: 1}, nobody, "a database without a relay has lost all that one did")

	term, err := s.Claim(t.Context(), "one", time.Minute)
	require.NoError(t, err)
	put(t, conn, "u", 1, nil)
	round, err := term.Round(t.Context(), outbox.Cursor{Snapshot: "1:1:"}, outbox.Limit{Rows: 10, Bytes: 1000})
	require.NoError(t, err)
	at := outbox.Cursor{Snapshot: round.Snapshot, MaxID: 1}
	_, err = term.Save(t.Context(), at, time.Minute)
	require.NoError(t, err)
	m := outbox.Memory{Epoch: 1, Cursor: at}
	for n := range 40 {
		m.Events = append(m.Events, put(t, conn, "u", 2+n, nil))
	}
	here := outbox.Recalled{Epoch: 1, MaxID: 1}
	got, err := s.Recall(t.Context(), outbox.Memory{Epoch: 1, Cursor: at})
	require.NoError(t, err)
	require.Equal(t, here, got, "nothing was published behind the position")
	recall := func() outbox.Recalled {
		t.Helper()
		got, err := s.Recall(t.Context(), m)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, here, recall())

	round, err = term.Round(t.Context(), at, outbox.Limit{Rows: 100, Bytes: 1000})
	require.NoError(t, err)
	require.NoError(t, term.Quarantine(t.Context(), []outbox.Exile{{Place: round.Rows[0].Place, Reason: outbox.ReasonRefused}}))
	require.Equal(t, here, recall(), "what is in quarantine is not lost")
	_, err = control(t, url).Reanchor(t.Context(), false, true)
	require.NoError(t, err)
	require.Equal(t, outbox.Recalled{Epoch: 2, MaxID: 1}, recall(), "nor is what was anchored anew")
	_, err = conn.Exec(t.Context(), "delete from outbox where aggregate_seq > 39")
	require.NoError(t, err)
	require.Equal(t, 2, recall().Gone)
	_, err = conn.Exec(t.Context(), "update outbox_relays set system_identifier = 1")
	require.NoError(t, err)
	require.Zero(t, recall().Gone, "on another cluster the numbers of transactions are others")
}
