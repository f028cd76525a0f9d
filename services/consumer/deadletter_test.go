package consumer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/consumer"
)

func TestPoisonBecomesADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	stamp := now.Format(time.RFC3339Nano)
	for name, tc := range map[string]struct{ value, code, message string }{
		"not JSON":       {`{"eventType":SECRET`, "INVALID_EVENT", "The value is not JSON from byte 14 on."},
		"no type":        {`{"SECRET":1}`, "INVALID_EVENT", "The value is not an object with a string eventType."},
		"no time":        {`{"eventType":"account.deleted","data":{"accountId":"SECRET"}}`, "INVALID_EVENT", "The event has no timestamp in RFC 3339."},
		"no data":        {`{"eventType":"account.deleted","timestamp":"` + stamp + `","eventId":"e1"}`, "INVALID_EVENT", "The value is not a JSON object."},
		"no account":     {`{"eventType":"account.deleted","timestamp":"` + stamp + `","data":{"SECRET":1}}`, "INVALID_EVENT", "The event does not fit the schema of account.deleted. must have accountId."},
		"impossible id":  {`{"eventType":"account.created","timestamp":"` + stamp + `","data":{"accountId":"SECRET id"}}`, "INVALID_EVENT", "The event does not fit the schema of account.created. accountId does not fit: pattern."},
		"in the future":  {`{"eventType":"account.deleted","timestamp":"` + now.Add(6*time.Minute).Format(time.RFC3339) + `","data":{"accountId":"acc-1"}}`, "INVALID_FIELD", "The event's time is more than 5m0s ahead."},
		"over one MiB":   {`{"eventType":"` + strings.Repeat("SECRET", 200_000) + `"}`, "INVALID_EVENT", "The value is larger than 1048576 bytes."},
		"NUL and broken": {"\x00\xffSECRET", "INVALID_EVENT", "The value is not UTF-8."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.save(t, "u", "acc-1")
			r := record(7, []byte("k\x00\xff"), []byte(tc.value), events.Header{Name: "trace\x00\xff", Value: []byte("\x00\xff")}, events.Header{Name: "none"})
			require.Equal(t, consumer.DeadLettered, h.settle(t, r))
			require.Equal(t, consumer.Duplicate, h.settle(t, r), "a second delivery is settled already")

			all := h.letters(t)
			require.Len(t, all, 1)
			got := all[0]
			require.Equal(t, "k\x00\xff", string(got.key))
			if len(tc.value) > 1_000_000 {
				require.Nil(t, got.value)
				require.Equal(t, "true", got.headers["dlt.truncated"])
			} else {
				require.Equal(t, tc.value, string(got.value))
				require.NotContains(t, got.headers, "dlt.truncated")
			}
			for name, want := range map[string]string{
				"trace%00%FF": "\x00\xff", "none": "",
				"dlt.original.topic": accountEvents, "dlt.original.partition": "2", "dlt.original.offset": "7",
				"dlt.consumer.group": "prefsd", "dlt.error.class": "poison", "dlt.error.code": tc.code, "dlt.error.message": tc.message, "dlt.attempts": "1",
				"dlt.original.key-hash": fmt.Sprintf("sha256:%x", sha256.Sum256(got.key)), "dlt.first-failed-at": got.headers["dlt.failed-at"],
				"dlt.service.version": "v1.2.3",
			} {
				require.Equal(t, want, got.headers[name], name)
			}
			require.Equal(t, []string{"acc-1:1"}, h.shown(t, "u"))
			require.Equal(t, 1, h.count(t, "select count(*) from inbox where outcome = 'dead_lettered' and kafka_offset = 7"))
			require.NotContains(t, h.log.String(), "SECRET")
			require.Equal(t, 1, strings.Count(h.log.String(), "record became a dead letter"))
		})
	}
}

func TestAMendedEventOfTheSameIDIsApplied(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1")
	at := time.Now()
	broken := event(3, deleted, "e1", "acc 1", at)
	require.Equal(t, consumer.DeadLettered, h.settle(t, broken))
	require.Equal(t, consumer.Applied, h.settle(t, event(8, deleted, "e1", "acc-1", at)))
	require.Empty(t, h.shown(t, "u"))
	broken.Offset = 9
	require.Equal(t, consumer.Duplicate, h.settle(t, broken))
	require.Equal(t, 1, h.count(t, "select count(*) from inbox where event_id = 'e1' and outcome = 'applied' and kafka_offset = 8"))
}

func TestAnUnknownErrorIsTriedFiveTimes(t *testing.T) {
	t.Parallel()
	unknown := errors.New("SECRET: who knows")
	away := fault.New(fault.Unavailable, fault.ReasonUnavailable, "away")
	h := open(t, failing(unknown, unknown, away, away, away, unknown, unknown, unknown))
	h.save(t, "u", "acc-1")
	r := event(0, deleted, "e1", "acc-1", time.Now())
	for attempt := 1; attempt <= 7; attempt++ {
		require.Error(t, h.Settle(t.Context(), r, attempt))
	}
	require.Empty(t, h.letters(t), "an outage is no try")
	require.NoError(t, h.Settle(t.Context(), r, 8))
	require.Equal(t, consumer.DeadLettered, h.outcomes()[7])

	all := h.letters(t)
	require.Len(t, all, 1)
	require.Equal(t, "exhausted", all[0].headers["dlt.error.class"])
	require.Equal(t, "INTERNAL", all[0].headers["dlt.error.code"])
	require.Equal(t, "8", all[0].headers["dlt.attempts"])
	require.Less(t, all[0].headers["dlt.first-failed-at"], all[0].headers["dlt.failed-at"])
	require.NotContains(t, all[0].headers["dlt.error.message"], "SECRET")

	redriven := r
	redriven.Offset = 50
	require.Equal(t, consumer.Applied, h.settle(t, redriven), "an operator sends it again once it is mended")
	require.Empty(t, h.shown(t, "u"))
}

func TestAHandlerWhoseTimeIsUpBlamesNobody(t *testing.T) {
	t.Parallel()
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for attempt := range 10 {
		require.Error(t, h.Settle(ctx, event(0, deleted, "e1", "acc-1", time.Now()), attempt+1))
	}
	require.Empty(t, h.letters(t))
	require.NotContains(t, h.outcomes(), consumer.DeadLettered)
	require.Equal(t, consumer.Applied, h.settle(t, event(0, deleted, "e1", "acc-1", time.Now())))
}

func TestAnOutageOfTheDatabaseMakesNoDeadLetters(t *testing.T) {
	t.Parallel()
	server := pgtest.StartPrivate(t)
	h := openAt(t, server.URL())
	h.save(t, "u", "acc-1")
	good, poison := event(0, deleted, "e1", "acc-1", time.Now()), record(1, nil, []byte("SECRET"))
	require.NoError(t, h.Gate(t.Context()))

	require.NoError(t, server.Stop())
	for attempt := 1; attempt <= 2*5; attempt++ {
		require.Equal(t, fault.Unavailable, fault.CodeOf(h.Settle(t.Context(), good, attempt)))
		require.Equal(t, fault.Unavailable, fault.CodeOf(h.Settle(t.Context(), poison, attempt)))
	}
	require.False(t, h.Paused())
	require.Error(t, h.Gate(t.Context()), "all partitions wait")
	require.True(t, h.Paused())
	require.NoError(t, h.Settle(t.Context(), record(2, nil, []byte(`{"eventType":"account.renamed"}`)), 1), "skipping needs no database")
	require.Error(t, h.Gate(t.Context()))
	require.NotContains(t, h.outcomes(), consumer.DeadLettered)

	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, h.Gate(t.Context()))
	require.False(t, h.Paused())
	for _, line := range []string{"consumption is paused", "consumption goes on"} {
		require.Equal(t, 1, strings.Count(h.log.String(), line), "an outage is two lines")
	}
	require.Equal(t, consumer.Applied, h.settle(t, good))
	require.Equal(t, consumer.DeadLettered, h.settle(t, poison))
	require.Empty(t, h.shown(t, "u"))
	require.Len(t, h.letters(t), 1)
}

// panicking is a store that finds a bug.
type panicking struct{ preferences.Store }

// SetState implements preferences.Store.
func (panicking) SetState(context.Context, preferences.State) error { panic("SECRET") }

func TestAPanicEndsAsADeadLetterAndNotTheProcess(t *testing.T) {
	t.Parallel()
	h := open(t, behind(func(s preferences.Store) preferences.Store { return panicking{s} }))
	r := event(0, deleted, "e1", "acc-1", time.Now())
	for attempt := 1; attempt < 5; attempt++ {
		require.ErrorContains(t, h.Settle(t.Context(), r, attempt), "panic: SECRET")
	}
	require.NoError(t, h.Settle(t.Context(), r, 5))
	require.Equal(t, "exhausted", h.letters(t)[0].headers["dlt.error.class"])
	require.NotContains(t, h.letters(t)[0].headers["dlt.error.message"], "SECRET")
	require.Contains(t, h.log.String(), "deadletter_test.go", "the log has the stack")
}
