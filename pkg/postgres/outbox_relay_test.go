package postgres_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
)

func TestRelayPublishesAnEventAsACloudEvent(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	relay(t, source(t, url), b, quick())
	id := put(t, conn, "alice", 7, []byte(`{"x":1}`))
	m := b.waitFor(t, 1)[0]
	require.Equal(t, id, m.EventID)
	require.Equal(t, "preferences.events", m.Topic)
	require.Equal(t, "alice", string(m.Key))
	require.JSONEq(t, `{"x":1}`, string(m.Value))
	require.Equal(t, []outbox.Header{
		{Name: "ce_id", Value: []byte(id.String())},
		{Name: "ce_type", Value: []byte("preferences.updated")},
		{Name: "ce_source", Value: []byte("/prefsd/test")},
		{Name: "ce_specversion", Value: []byte("1.0")},
		{Name: "ce_subject", Value: []byte("alice")},
		{Name: "ce_dataschema", Value: []byte("urn:prefsd:schema:preferences.updated:1")},
		{Name: "content-type", Value: []byte("application/json")},
		{Name: "ce_time", Value: []byte("now")},
	}, m.Headers)
}

func TestRelayWorksOffABacklogInOrder(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	conn, b := connect(t, url), newBroker()
	for i := range 500 {
		put(t, conn, fmt.Sprint("user-", i%7), i, []byte("x"))
	}
	cfg := quick()
	cfg.Batch = 50
	relay(t, source(t, url), b, cfg)
	log := b.waitFor(t, 500)
	require.Len(t, log, 500)
	last := map[string]int64{}
	for _, m := range log {
		require.Greater(t, m.ID, last[string(m.Key)])
		last[string(m.Key)] = m.ID
	}
}
