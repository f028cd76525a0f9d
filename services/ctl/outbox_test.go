package ctl_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/ctl"
)

// plant is a database with lists, a broker, and the relay between them.
type plant struct {
	*testing.T
	vars  map[string]string
	url   string
	topic string // of updates
	lists *preferences.Service
	relay *outbox.Relay
	fails atomic.Pointer[error] // what the broker answers instead of taking anything
	kafka *kafka.Client
}

// newPlant starts one on the in-process broker.
func newPlant(t *testing.T) *plant {
	t.Helper()
	broker := kafkatest.InProcess(t)
	p := &plant{T: t, url: pgtest.New(t), topic: kafkatest.Topic(t, broker, 1)}
	p.vars = map[string]string{"PREFS_DATABASE_URL": p.url}
	announcer := preferences.Announcer{EventsTopic: p.topic, CleanedTopic: p.topic, Source: "/prefsd/test"}
	store, err := postgres.Open(postgres.Config{URL: p.url, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	p.lists = preferences.New(preferences.Options{Store: store, Announcer: announcer})
	p.kafka = kafkatest.Client(t, broker, p.topic)
	source, err := postgres.NewOutboxSource(p.url, "main")
	require.NoError(t, err)
	t.Cleanup(source.Close)
	p.relay, err = outbox.New(source, &faulty{Publisher: kafka.NewPublisher(p.kafka, kafka.PublisherConfig{}), p: p},
		outbox.Config{SaveEvery: 20 * time.Millisecond, RenewEvery: 50 * time.Millisecond, Poll: 50 * time.Millisecond, TendEvery: 50 * time.Millisecond},
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- p.relay.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return p
}

// faulty is a publisher with a broker that may refuse everything.
type faulty struct {
	outbox.Publisher
	p *plant
}

func (f *faulty) Publish(ctx context.Context, msgs []outbox.Message) []error {
	if err := f.p.fails.Load(); err != nil {
		errs := make([]error, len(msgs))
		for i := range errs {
			errs[i] = *err
		}
		return errs
	}
	return f.Publisher.Publish(ctx, msgs)
}

// save writes a list, which makes one event.
func (p *plant) save(user string, entities ...string) {
	p.Helper()
	inputs := make([]preferences.Input, len(entities))
	for i, e := range entities {
		inputs[i].EntityID = e
	}
	_, err := p.lists.Replace(p.Context(), user, "accounts", preferences.By{Actor: user}, preferences.Terms{}, inputs)
	require.NoError(p, err)
}

// arrived waits until the topic has so many records, and returns what it has.
func (p *plant) arrived(n int) []kafka.Record {
	p.Helper()
	var records []kafka.Record
	until(p.T, "records arrive", func() bool {
		records = nil
		require.NoError(p, p.kafka.Scan(p.Context(), p.topic, nil, func(r kafka.Record) error {
			records = append(records, r)
			return nil
		}))
		return len(records) >= n
	})
	return records
}

// ctl runs prefsctl on the plant and returns what it printed as JSON.
func (p *plant) ctl(code int, args ...string) map[string]any {
	p.Helper()
	r := prefsctl(p.T, p.vars, append(args, "--json")...)
	require.Equal(p, code, r.code, "%s%s", r.out, r.err)
	var body map[string]any
	require.NoError(p, json.Unmarshal([]byte(r.out), &body), r.out)
	return body
}

// until polls a condition that nothing signals.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 30*time.Second, 10*time.Millisecond, what)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.save("alice", "a")
	p.arrived(1)
	require.Equal(t, result{ctl.Done, "paused: events wait in the outbox until prefsctl outbox resume\n", ""}, prefsctl(t, p.vars, "outbox", "pause"))
	p.save("alice", "a", "b")
	status := p.ctl(ctl.Amiss, "outbox", "status")
	require.Equal(t, true, status["paused"])
	require.EqualValues(t, 1, status["unpublished"])
	require.Empty(t, status["leader"])
	require.Contains(t, prefsctl(t, p.vars, "outbox", "status").out, "paused")
	require.Len(t, p.arrived(1), 1)

	require.Equal(t, map[string]any{"paused": false, "wasPaused": true}, p.ctl(ctl.Done, "outbox", "resume"))
	r := prefsctl(t, p.vars, "outbox", "status", "--watch", "--every=10ms")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, "unpublished     0")
	require.Len(t, p.arrived(2), 2)
	require.Equal(t, result{ctl.Done, "it was not paused\n", ""}, prefsctl(t, p.vars, "outbox", "resume"))
}

func TestReplay(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	for _, user := range []string{"alice", "bob", "alice", "bob", "alice"} {
		p.save(user, uuid.NewString())
	}
	p.arrived(5)
	until(t, "all is noted", func() bool { return p.ctl(ctl.Done, "outbox", "status")["unpublished"] == 0.0 })

	r := prefsctl(t, p.vars, "outbox", "replay", "--from-id=2", "--to-id=4", "--dry-run")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Regexp(t, `(?m)^`+p.topic+` +preferences.updated +3 +2 to 4 `, r.out)
	require.Equal(t, result{ctl.Done, "3 events are published again, up to id 4\n", ""},
		prefsctl(t, p.vars, "outbox", "replay", "--from-id=2", "--to-id=4"))
	require.EqualValues(t, 3, p.ctl(ctl.Done, "outbox", "replay", "--since=1h", "--until=2000-01-01T00:00:00Z", "--key=alice")["replayed"].(float64)+3)
	require.EqualValues(t, 3, p.ctl(ctl.Done, "outbox", "replay", "--since=1h", "--key=alice", "--topic="+p.topic)["replayed"])
	log := p.arrived(5 + 3 + 3)
	times := map[string]int{}
	for _, record := range log {
		times[string(record.Value)]++
	}
	var counts []int
	for _, record := range log[:5] {
		if string(record.Key) == "alice" {
			counts = append(counts, times[string(record.Value)])
		}
	}
	require.Equal(t, []int{2, 3, 2}, counts, "alice's: once, and by key; the middle one by id too")

	for _, args := range [][]string{{}, {"--since=yesterday"}, {"--from-id=1", "--rate=-1"}} {
		require.Equal(t, ctl.Misused, prefsctl(t, p.vars, append([]string{"outbox", "replay"}, args...)...).code)
	}
	require.EqualValues(t, 0, p.ctl(ctl.Done, "outbox", "replay", "--from-id=1000")["replayed"])
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	var no error = &outbox.Refused{Permanent: true, Err: errors.New("MESSAGE_TOO_LARGE")}
	p.fails.Store(&no)
	p.save("alice", "a")
	p.save("bob", "a")
	p.save("alice", "a", "b")
	until(t, "all are there", func() bool { return p.ctl(ctl.Amiss, "outbox", "status")["quarantined"] == 3.0 })

	r := prefsctl(t, p.vars, "outbox", "quarantine", "ls")
	require.Equal(t, ctl.Amiss, r.code, r.err)
	require.Equal(t, 2, strings.Count(r.out, "refused: refused for good: MESSAGE_TOO_LARGE"))
	require.Equal(t, 1, strings.Count(r.out, "follows"))
	listed, ok := p.ctl(ctl.Amiss, "outbox", "quarantine", "ls")["events"].([]any)
	require.True(t, ok)
	id := func(n int) string { return listed[n].(map[string]any)["eventId"].(string) }

	p.fails.Store(nil)
	require.Equal(t, map[string]any{"decision": "drop", "decided": 1.0, "waiting": 0.0, "unknown": 1.0},
		p.ctl(ctl.Amiss, "outbox", "quarantine", "drop", id(1), uuid.NewString()))
	require.Equal(t, result{ctl.Done, "release: 1 events, of which 0 wait for the relay\n", ""},
		prefsctl(t, p.vars, "outbox", "quarantine", "release", "--all"))
	log := p.arrived(2)
	require.Equal(t, "alice", string(log[0].Key))
	require.Equal(t, "alice", string(log[1].Key))
	require.Contains(t, string(log[0].Value), `"version":1`)
	until(t, "none waits", func() bool { return p.ctl(ctl.Done, "outbox", "status")["quarantined"] == 0.0 })
	require.Contains(t, prefsctl(t, p.vars, "outbox", "quarantine", "ls", "--all").out, "dropped")
	require.NotContains(t, prefsctl(t, p.vars, "outbox", "quarantine", "ls").out, "dropped")
	for _, args := range [][]string{{}, {"not-an-id"}, {"--all", id(0)}} {
		require.Equal(t, ctl.Misused, prefsctl(t, p.vars, append([]string{"outbox", "quarantine", "release"}, args...)...).code)
	}
}

func TestReanchor(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.save("alice", "a")
	p.arrived(1)
	require.Equal(t, result{ctl.Done, "there is nothing to do: the relay knows this database\n", ""}, prefsctl(t, p.vars, "outbox", "reanchor"))
	until(t, "it is noted", func() bool { return p.ctl(ctl.Done, "outbox", "status")["unpublished"] == 0.0 })
	require.Equal(t, "it would anchor anew: 1 events are published, some of them perhaps again; 0 count as published\n",
		prefsctl(t, p.vars, "outbox", "reanchor", "--force", "--everything", "--dry-run").out)
	require.Equal(t, map[string]any{"needed": false, "dryRun": false, "reanchored": true, "published": 1.0, "kept": 0.0},
		p.ctl(ctl.Done, "outbox", "reanchor", "--force", "--everything"))
	require.Len(t, p.arrived(2), 2)

	r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": pgtest.New(t)}, "outbox", "reanchor")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "no relay of that name has run")
}
