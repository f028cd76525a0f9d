package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/consumer"
)

const (
	deleted  = "account.deleted"
	created  = "account.created"
	restored = "account.restored"
)

func TestADeletedAccountLeavesTheListsAndTheGapsClose(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "user-123", "acc-003", "acc-005", "acc-001")
	h.save(t, "user-456", "acc-003")
	h.save(t, "user-789", "acc-001")

	require.Equal(t, consumer.Applied, h.settle(t, event(0, deleted, "evt-12345", "acc-003", time.Now())))
	require.Equal(t, []string{"acc-005:1", "acc-001:2"}, h.shown(t, "user-123"))
	require.Empty(t, h.shown(t, "user-456"))
	require.Equal(t, []string{"acc-001:1"}, h.shown(t, "user-789"))

	told := h.cleaned(t)
	require.Len(t, told, 1)
	require.Equal(t, []string{"user-123", "user-456"}, told[0].AffectedUsers)
	require.True(t, told[0].Final)
	require.True(t, told[0].Complete)
	require.Equal(t, "event:evt-12345", told[0].Cause)
	require.Equal(t, 1, h.count(t, "select count(*) from inbox where consumer = 'prefsd' and event_id = 'evt-12345' and outcome = 'applied' and partition = 2 and kafka_offset = 0"))
	require.Zero(t, h.polls.Load(), "nothing is left to the runner")
}

func TestADeletionThatTouchesNobodyIsAnnouncedToo(t *testing.T) {
	t.Parallel()
	h := open(t)
	require.Equal(t, consumer.Applied, h.settle(t, event(0, deleted, "e", "acc-1", time.Now())))
	told := h.cleaned(t)
	require.Len(t, told, 1)
	require.True(t, told[0].Final)
	require.Empty(t, told[0].AffectedUsers)
}

func TestACreatedAccountChangesNoList(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "user-123", "acc-001")
	require.Equal(t, consumer.Applied, h.settle(t, event(0, created, "evt-67890", "acc-007", time.Now())))
	require.Equal(t, []string{"acc-001:1"}, h.shown(t, "user-123"))
	require.Equal(t, 1, h.count(t, "select count(*) from outbox"), "only the event of the save")
}

func TestARestoredAccountMayBeListedAgain(t *testing.T) {
	t.Parallel()
	for _, back := range []string{restored, created} {
		t.Run(back, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.save(t, "u", "acc-1", "acc-2")
			at := time.Now().Add(-time.Minute)
			h.settle(t, event(0, deleted, "e1", "acc-1", at))
			require.Len(t, h.save(t, "u", "acc-2", "acc-1").Skipped, 1)

			require.Equal(t, consumer.Applied, h.settle(t, event(1, back, "e2", "acc-1", at.Add(time.Second))))
			require.Equal(t, []string{"acc-2:1"}, h.shown(t, "u"), "what was cleaned stays cleaned")
			require.Empty(t, h.save(t, "u", "acc-2", "acc-1").Skipped)
			require.Len(t, h.cleaned(t), 1)
		})
	}
}

func TestTheNewerEventWinsInWhateverOrderTheyCome(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1")
	now := time.Now()
	require.Equal(t, consumer.Applied, h.settle(t, event(0, restored, "e2", "acc-1", now)))
	require.Equal(t, consumer.Applied, h.settle(t, event(1, deleted, "e1", "acc-1", now.Add(-time.Second))))
	require.Equal(t, []string{"acc-1:1"}, h.shown(t, "u"))
	h.save(t, "u", "acc-1", "acc-2")
	require.Equal(t, []string{"acc-1:1", "acc-2:2"}, h.shown(t, "u"))
}

func TestADuplicateIsIgnored(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1")
	first := event(0, deleted, "e1", "acc-1", time.Now())
	h.settle(t, first)
	require.Equal(t, consumer.Duplicate, h.settle(t, first), "redelivered: the offset was not committed")
	again := first
	again.Offset, again.Partition = 9, 5
	require.Equal(t, consumer.Duplicate, h.settle(t, again), "published twice")
	other := event(10, deleted, "e1", "acc-2", time.Now())
	require.Equal(t, consumer.Duplicate, h.settle(t, other), "the id is what counts")
	require.Len(t, h.cleaned(t), 1)
	require.Equal(t, 1, h.count(t, "select count(*) from operations"))
	require.Equal(t, 1, h.count(t, "select count(*) from inbox"))
}

func TestEventsWithoutAnIDAreToldApartByTheirBytes(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1")
	value := []byte(`{"eventType":"account.deleted","timestamp":"2024-10-07T17:00:00Z","data":{"accountId":"acc-1"}}`)
	require.Equal(t, consumer.Applied, h.settle(t, record(0, []byte("acc-1"), value)))
	require.Equal(t, consumer.Duplicate, h.settle(t, record(4, []byte("acc-1"), value)))
	later := bytes.Replace(value, []byte("17:00:00Z"), []byte("17:00:01Z"), 1)
	require.Equal(t, consumer.Applied, h.settle(t, record(5, []byte("acc-1"), later)))
	require.Equal(t, 2, h.count(t, "select count(*) from inbox where event_id like 'sha256:%'"))
}

func TestWhatIsOfNoInterestIsSkippedWithoutATrace(t *testing.T) {
	t.Parallel()
	h := open(t)
	for name, r := range map[string]events.Record{
		"unknown type":         record(0, nil, []byte(`{"eventType":"account.renamed"}`)),
		"unknown, bad time":    record(1, nil, []byte(`{"eventType":"account.renamed","timestamp":"now","data":7}`)),
		"null value":           record(2, []byte("acc-1"), nil),
		"type of other topics": {Topic: "other.events", Value: []byte(`{"eventType":"account.deleted"}`)},
	} {
		require.Equal(t, consumer.Skipped, h.settle(t, r), name)
	}
	require.Zero(t, h.count(t, "select (select count(*) from inbox) + (select count(*) from outbox) + (select count(*) from deleted_entities)"))
	require.Empty(t, h.log.String())
}

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

func TestALockedListLeavesTheRestToTheRunner(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u1", "acc-1")
	h.save(t, "u2", "acc-1", "acc-2")
	release := h.hold(t, "u2")
	require.Equal(t, consumer.Applied, h.settle(t, event(0, deleted, "e1", "acc-1", time.Now())), "the partition goes on")
	require.EqualValues(t, 1, h.polls.Load())
	require.Empty(t, h.shown(t, "u1"))
	require.Equal(t, []string{"acc-1:1", "acc-2:2"}, h.shown(t, "u2"))
	release()

	stop := h.run(t)
	h.await(t, "select count(*) from operations where state = 'succeeded'")
	stop()
	require.Equal(t, []string{"acc-2:1"}, h.shown(t, "u2"))
	told := h.cleaned(t)
	require.Len(t, told, 2)
	require.Equal(t, []bool{false, true}, []bool{told[0].Final, told[1].Final})
	require.EqualValues(t, 2, told[1].TotalDeleted)
}

func TestAnOperatorsCleanWithGapsIsFinishedByTheRunner(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1", "acc-2", "acc-3")
	release := h.hold(t, "u")
	ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer leave()
	_, err := h.prefs.CleanOrphaned(ctx, preferences.By{Actor: "admin", RequestID: "r-1"}, preferences.Entity{Type: "account", ID: "acc-2"}, false)
	require.Error(t, err, "the caller is gone before the list is free")
	_, err = h.admin.ExecContext(t.Context(), "update operations set lease_until = 'epoch'") // its lease runs out
	require.NoError(t, err)
	release()

	stop := h.run(t)
	h.await(t, "select count(*) from operations where state = 'succeeded'")
	stop()
	require.Equal(t, []string{"acc-1:1", "acc-3:3"}, h.shown(t, "u"), "the gap is wanted")
	told := h.cleaned(t)
	require.True(t, told[len(told)-1].Final)
	require.Regexp(t, "^operation:", told[0].Cause)
}

// flaky is a store whose Update fails at first, the way a process dies between
// two commits.
type flaky struct {
	preferences.Store
	mu    sync.Mutex
	fails []error
}

func (f *flaky) Update(ctx context.Context, fn func(context.Context, preferences.Tx) error) error {
	f.mu.Lock()
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		f.mu.Unlock()
		return err
	}
	f.mu.Unlock()
	return f.Store.Update(ctx, fn)
}

func failing(errs ...error) change {
	return behind(func(s preferences.Store) preferences.Store { return &flaky{Store: s, fails: errs} })
}

func TestAKillBetweenTheStateAndTheCleanIsMadeUpFor(t *testing.T) {
	t.Parallel()
	h := open(t, failing(fault.New(fault.Unavailable, fault.ReasonUnavailable, "killed")))
	h.save(t, "u", "acc-1", "acc-2")
	r := event(0, deleted, "e1", "acc-1", time.Now())
	require.Error(t, h.Settle(t.Context(), r, 1))
	require.Equal(t, []consumer.Outcome{consumer.Retried}, h.outcomes())
	require.Equal(t, 1, h.count(t, "select count(*) from deleted_entities where deleted"), "the state is committed")
	require.Equal(t, []string{"acc-1:1", "acc-2:2"}, h.shown(t, "u"))
	require.Len(t, h.save(t, "u", "acc-2", "acc-1", "acc-3").Skipped, 0, "an item that is in the list already is not added")

	require.NoError(t, h.Settle(t.Context(), r, 2))
	require.Equal(t, []consumer.Outcome{consumer.Applied}, h.outcomes())
	require.Equal(t, []string{"acc-2:1", "acc-3:2"}, h.shown(t, "u"))
	require.Len(t, h.cleaned(t), 1)
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
	require.Error(t, h.Gate(t.Context()), "all partitions wait")
	require.NoError(t, h.Settle(t.Context(), record(2, nil, []byte(`{"eventType":"account.renamed"}`)), 1), "skipping needs no database")
	require.Error(t, h.Gate(t.Context()))
	require.NotContains(t, h.outcomes(), consumer.DeadLettered)

	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, h.Gate(t.Context()))
	require.Equal(t, consumer.Applied, h.settle(t, good))
	require.Equal(t, consumer.DeadLettered, h.settle(t, poison))
	require.Empty(t, h.shown(t, "u"))
	require.Len(t, h.letters(t), 1)
}

func TestPartitionsSettleSideBySide(t *testing.T) {
	t.Parallel()
	h := open(t)
	const accounts = 24
	var ids []string
	for i := range accounts {
		ids = append(ids, fmt.Sprintf("acc-%d", i))
	}
	h.save(t, "u1", ids...)
	h.save(t, "u2", ids...)
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := p; i < accounts; i += 4 {
				r := event(int64(i), deleted, fmt.Sprintf("e%d", i), ids[i], time.Now())
				r.Partition = p
				for attempt := 1; h.Settle(t.Context(), r, attempt) != nil; attempt++ {
				}
			}
		})
	}
	wg.Wait()
	stop := h.run(t)
	h.await(t, "select 1 where not exists (select 1 from operations where state <> 'succeeded')")
	stop()
	require.Empty(t, h.shown(t, "u1"))
	require.Empty(t, h.shown(t, "u2"))
	final := 0
	for _, c := range h.cleaned(t) {
		if c.Final {
			final++
		}
	}
	require.Equal(t, accounts, final)
}

func TestSamplesNameOnlyConfiguredTypes(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.settle2(t, event(0, deleted, "e1", "acc-1", time.Now().Add(-time.Hour)))
	h.settle2(t, record(1, nil, []byte(`{"eventType":"stranger's text"}`)))
	h.settle2(t, record(2, nil, []byte(`{`)))
	h.settle2(t, record(3, nil, nil))
	require.Len(t, h.samples, 4)
	require.Equal(t, deleted, h.samples[0].Type)
	require.Greater(t, h.samples[0].Delay, time.Hour)
	for _, s := range h.samples[1:] {
		require.Equal(t, "other", s.Type)
		require.Zero(t, s.Delay)
	}
}

// settle2 settles a record and leaves its sample where it is.
func (h *house) settle2(t *testing.T, r events.Record) {
	t.Helper()
	require.NoError(t, h.Settle(t.Context(), r, 1))
}
