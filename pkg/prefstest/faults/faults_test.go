// Package faults has everything around a consumer fail while it works, and
// checks every promise afterwards.
package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/prefstest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	prefstest.Cleanup()
	os.Exit(code)
}

func account(n int) string { return fmt.Sprintf("acc-%03d", n) }

func accounts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = account(i)
	}
	return out
}

// unhurried is the load of a story that lasts: users who pause between two saves.
func unhurried(tb testing.TB, stage *prefstest.Stage, api *prefstest.Service, listed int) *prefstest.Load {
	tb.Helper()
	return stage.StartLoad(tb, api.URL, prefstest.LoadOptions{Writers: 2, Users: 6, Accounts: listed, Pause: 20 * time.Millisecond})
}

// raw is a record in the partition of one key, so that nothing overtakes it.
func raw(value []byte, headers ...kgo.RecordHeader) *kgo.Record {
	return &kgo.Record{Topic: prefstest.AccountEvents, Key: []byte("one partition"), Value: value, Headers: headers}
}

// behind puts a deletion into the same partition as raw.
func behind(id, account string) *kgo.Record {
	r := prefstest.Deleted(id, account, time.Now())
	r.Key = []byte("one partition")
	return r
}

// letters are the dead letters by the offset of their original.
func letters(t *testing.T, stage *prefstest.Stage) map[string]*kgo.Record {
	t.Helper()
	out := map[string]*kgo.Record{}
	for _, r := range stage.Topic(t, prefstest.DeadLetters) {
		out[header(r, "dlt.original.offset")] = r
	}
	return out
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestWhateverARecordHoldsThePartitionGoesOn(t *testing.T) {
	t.Parallel()
	stage := prefstest.NewStage(t, kafkatest.InProcess(t))
	stage.AllowLargeRecords(t, prefstest.AccountEvents, 16<<20)
	stage.Save(t, []string{"alice", "bob"}, accounts(6)...)
	consumer := stage.Consumer(t, nil)

	stamp := time.Now().UTC().Format(time.RFC3339Nano)
	member := func(members string) []byte {
		return []byte(`{"eventType":"account.deleted","timestamp":"` + stamp + `",` + members + `}`)
	}
	broken := map[string]*kgo.Record{
		"10 MB":             raw([]byte(`{"eventType":"` + strings.Repeat("x", 10<<20) + `"}`)),
		"empty":             raw([]byte{}),
		"not JSON":          raw([]byte("\x00\xff{")),
		"another schema":    raw(member(`"eventId":"b1","data":{"account":7}`)),
		"another version":   raw(member(`"eventId":"b2","version":99,"data":{"accounts":["acc-000"]}`)),
		"another spec":      raw([]byte(`{}`), kgo.RecordHeader{Key: "ce_specversion", Value: []byte("0.3")}),
		"100 KB of headers": raw([]byte("["), kgo.RecordHeader{Key: "x", Value: make([]byte, 100<<10)}),
	}
	stage.Produce(t, behind("e0", account(0)))
	offset, want := 1, map[string]string{}
	for name, r := range broken {
		stage.Produce(t, r)
		want[fmt.Sprint(offset)] = name
		offset++
	}
	noKey := prefstest.Deleted("e1", account(1), time.Now())
	noKey.Key = nil
	stage.Produce(t, raw(nil), raw([]byte(`{"eventType":"account.renamed"}`)), behind("e2", account(2)), noKey)

	prefstest.Eventually(t, prefstest.Patience, "every dead letter is out", func() bool { return len(letters(t, stage)) == len(broken) })
	for offset, letter := range letters(t, stage) {
		require.Equal(t, "poison", header(letter, "dlt.error.class"), want[offset])
		require.Equal(t, want[offset] == "10 MB", header(letter, "dlt.truncated") == "true", want[offset])
	}
	report := stage.Settle(t)
	require.Equal(t, 3, report.Cleans)
	require.Equal(t, accounts(6)[3:], stage.Entities(t, "alice"))
	require.Zero(t, consumer.Terminate(t))
}

func TestDeadLettersWaitForTheirTopicAndNobodyWaitsForThem(t *testing.T) {
	t.Parallel()
	broker := kafkatest.InProcess(t)
	stage := prefstest.NewStage(t, broker)
	stage.Save(t, []string{"alice"}, accounts(4)...)
	away := faulty(t, broker).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: prefstest.DeadLetters, Err: kerr.UnknownTopicOrPartition, Count: -1})
	consumer := stage.Consumer(t, nil)

	for i := range 3 {
		stage.Produce(t, raw(fmt.Appendf(nil, "broken %d", i)), behind(fmt.Sprint("e", i), account(i)))
	}
	prefstest.Eventually(t, prefstest.Patience, "what is not broken is applied and announced", func() bool {
		return len(stage.Topic(t, prefstest.Cleaned)) == 3
	})
	require.Equal(t, []string{account(3)}, stage.Entities(t, "alice"))
	require.Empty(t, stage.Topic(t, prefstest.DeadLetters))
	require.Positive(t, away.Hits())

	away.Remove()
	prefstest.Eventually(t, prefstest.Patience, "the dead letters are out", func() bool { return len(letters(t, stage)) == 3 })
	stage.Settle(t)
	require.Zero(t, consumer.Terminate(t))
}

func faulty(t *testing.T, b kafkatest.Broker) *kfake.Cluster {
	t.Helper()
	f, ok := b.(kafkatest.Faulty)
	require.True(t, ok)
	return f.Cluster()
}

// TestAnswersThatAreLostLoseNothing: the broker writes what it is sent, and says
// that it did not.
func TestAnswersThatAreLostLoseNothing(t *testing.T) {
	t.Parallel()
	broker := kafkatest.InProcess(t)
	stage := prefstest.NewStage(t, broker)
	stage.Save(t, []string{"alice", "bob", "carol"}, accounts(12)...)
	var faults []*kfake.FaultHandle
	for _, topic := range []string{prefstest.Updates, prefstest.Cleaned} {
		faults = append(faults, faulty(t, broker).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicasAfterAppend, Count: 4}))
	}
	consumer := stage.Consumer(t, nil)
	for i := range 10 {
		stage.Produce(t, prefstest.Deleted(fmt.Sprint("e", i), account(i), time.Now()))
	}
	require.Equal(t, 10, stage.Settle(t).Cleans)
	for _, f := range faults {
		require.Positive(t, f.Hits())
	}
	require.Zero(t, consumer.Terminate(t))
}

// TestABrokerThatIsAwayStopsNobodyFromSaving has it gone for 20 seconds.
func TestABrokerThatIsAwayStopsNobodyFromSaving(t *testing.T) {
	t.Parallel()
	const outage = 20 * time.Second
	broker := kafkatest.InProcessMortal(t)
	mortal, ok := broker.(kafkatest.Mortal)
	require.True(t, ok)
	stage := prefstest.NewStage(t, broker)
	api, consumer := stage.API(t, nil), stage.Consumer(t, nil)
	caller := prefstest.NewCaller(api.URL, stage.Token(t, "alice"))
	t.Cleanup(caller.Close)

	mortal.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), outage)
	defer cancel()
	saves := 0
	for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; saves++ {
		answer, err := caller.Do(t.Context(), http.MethodPut, "/preferences:batchReplace", prefstest.Order(account(saves), account(saves+1), account(saves+2)))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
		}
	}
	require.Equal(t, http.StatusOK, prefstest.Status(consumer.AdminURL+"/livez"))
	mortal.Revive(t)
	stage.Produce(t, prefstest.Deleted("e1", account(saves), time.Now()))
	report := stage.Settle(t)
	require.Equal(t, 1, report.Cleans)
	require.GreaterOrEqual(t, report.Changes, saves)
	require.Zero(t, api.Terminate(t))
	require.Zero(t, consumer.Terminate(t))
	t.Logf("%d saves while the broker was away, none refused", saves)
}
