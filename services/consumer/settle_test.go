package consumer_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/fault"
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

func TestCloudEventsAreAppliedInEveryMode(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1", "acc-2", "acc-3")
	at := time.Now().UTC().Format(time.RFC3339Nano)
	binary := []events.Header{
		{Name: "ce_specversion", Value: []byte("1.0")}, {Name: "ce_type", Value: []byte(deleted)}, {Name: "ce_id", Value: []byte("e1")}, {Name: "ce_time", Value: []byte(at)},
	}
	require.Equal(t, consumer.Applied, h.settle(t, record(0, nil, []byte(`{"accountId":"acc-1"}`), binary...)))
	structured := `{"specversion":"1.0","type":"account.deleted","id":"e2","source":"/x","time":"` + at + `","data":{"accountId":"acc-2"}}`
	media := events.Header{Name: "content-type", Value: []byte("application/cloudevents+json")}
	require.Equal(t, consumer.Applied, h.settle(t, record(1, nil, []byte(structured), media)))
	require.Equal(t, []string{"acc-3:1"}, h.shown(t, "u"))
	require.Equal(t, consumer.Duplicate, h.settle(t, event(2, deleted, "e2", "acc-2", time.Now())), "the same event in the envelope")

	binary[1].Value = []byte("account.renamed")
	require.Equal(t, consumer.Skipped, h.settle(t, record(3, nil, []byte("\x00\xff"), binary...)), "its data is its reader's affair")
	binary[0].Value, binary[2].Value = []byte("0.3"), []byte("e3")
	require.Equal(t, consumer.DeadLettered, h.settle(t, record(4, nil, []byte(`{}`), binary...)))
}

func TestALaterVersionOfASchemaIsReadIfItFits(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.save(t, "u", "acc-1")
	at := time.Now().UTC().Format(time.RFC3339Nano)
	later := func(id, member string) []byte {
		return []byte(`{"eventType":"account.deleted","version":99,"eventId":"` + id + `","timestamp":"` + at + `","data":{"` + member + `":"acc-1","news":[1]}}`)
	}
	require.Equal(t, consumer.DeadLettered, h.settle(t, record(0, nil, later("e1", "account"))))
	require.Equal(t, consumer.Applied, h.settle(t, record(1, nil, later("e2", "accountId"))))
	require.Empty(t, h.shown(t, "u"))
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
