package consumer_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/migrations"
	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/telemetry"
	"github.com/prefsd/prefsd/services/consumer"
)

func TestPoisonInTheMiddleOfAPartitionNeverStopsIt(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	h.save(t, "u1", "acc-1", "acc-2", "acc-3")
	h.save(t, "u2", "acc-2", "acc-3")
	client := newClient(t, broker.Addrs())
	out := read(t, client, "preferences.events", "preferences.cleaned", deadLetters)
	c := launch(t, url, broker.Addrs())
	c.awaitReady(t)

	now := time.Now()
	poison := []byte("{\x00\xff")
	publish(t, client,
		event(0, deleted, "e1", "acc-1", now).Value, poison, []byte(`{"eventType":"account.renamed"}`), nil, []byte{},
		event(0, deleted, "e1", "acc-1", now).Value, event(0, deleted, "e3", "acc-9", now.Add(time.Hour)).Value,
		event(0, deleted, "e2", "acc-2", now).Value)

	eventually(t, "everything behind the poison is applied", func() bool { return len(out.of("preferences.cleaned")) == 2 })
	eventually(t, "the dead letters are out", func() bool { return len(out.of(deadLetters)) == 3 })
	require.Equal(t, []string{"acc-3:1"}, h.shown(t, "u1"))
	require.Equal(t, []string{"acc-3:1"}, h.shown(t, "u2"))

	letter := out.of(deadLetters)[0]
	require.Equal(t, poison, letter.Value)
	require.Equal(t, "one partition", string(letter.Key))
	headers := headersOf(letter)
	require.Equal(t, "\x00\xff", headers["origin"])
	require.Equal(t, "poison", headers["dlt.error.class"])
	require.Equal(t, "1", headers["dlt.original.offset"])
	require.NotContains(t, headers, "ce_type", "it is not our event")
	require.Equal(t, []byte{}, out.of(deadLetters)[1].Value, "an empty value is no null value")

	var accounts []string // of as many partitions, which are read in any order
	for _, cleaned := range out.of("preferences.cleaned") {
		accounts = append(accounts, string(cleaned.Key))
		require.Equal(t, "preferences.cleaned", headersOf(cleaned)["ce_type"])
		require.NoError(t, events.Validate(events.PreferencesCleaned, 1, cleaned.Value))
	}
	require.ElementsMatch(t, []string{"acc-1", "acc-2"}, accounts)
	eventually(t, "the updates are out", func() bool { return len(out.of("preferences.events")) == 2 })
	h.delivered(t, out)

	_, metrics := c.get(t, "/metrics")
	for _, line := range []string{
		`prefs_events_total{outcome="applied",type="account.deleted"} 2`, `prefs_events_total{outcome="duplicate",type="account.deleted"} 1`,
		`prefs_events_total{outcome="dead_lettered",type="account.deleted"} 1`, `prefs_events_total{outcome="dead_lettered",type="other"} 2`,
		`prefs_events_total{outcome="skipped",type="other"} 2`, `prefs_event_processing_delay_seconds_count{type="account.deleted"} 2`,
		`prefs_kafka_consumer_lag{partition="`, "prefs_relay_is_leader 1", "prefs_consumer_paused 0",
		"prefs_kafka_handler_hangs_total 0", `prefs_operations{state="failed"} 0`, `prefs_operations{state="pending"} 0`, "prefs_kafka_rebalances_total 1", "prefs_kafka_offset_resets_total 0",
	} {
		require.Contains(t, metrics, line)
	}
	c.stop()
	status, _ := c.get(t, "/livez")
	require.Zero(t, status)
}

func TestARestartGoesOnWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	h.save(t, "u", "acc-1", "acc-2", "acc-3")
	client := newClient(t, broker.Addrs())

	publish(t, client, event(0, deleted, "e1", "acc-1", time.Now()).Value) // before anybody listens
	first := launch(t, url, broker.Addrs())
	h.await(t, "select count(*) from inbox where event_id = 'e1'")
	release := h.hold(t, "u")
	publish(t, client, event(0, deleted, "e2", "acc-2", time.Now()).Value)
	h.await(t, "select count(*) from inbox where event_id = 'e2'")
	first.stop() // in the middle of a clean
	require.Equal(t, 1, h.count(t, "select count(*) from operations where state <> 'succeeded'"))
	release()

	launch(t, url, broker.Addrs())
	publish(t, client, event(0, deleted, "e3", "acc-3", time.Now()).Value)
	h.await(t, "select 1 where (select count(*) from operations where state = 'succeeded') = 3")
	require.Empty(t, h.shown(t, "u"))
	require.Equal(t, 3, h.count(t, "select count(*) from inbox"))
}

func TestTwoReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.New(t)
	h := openAt(t, url)
	const accounts = 30
	var ids []string
	for i := range accounts {
		ids = append(ids, fmt.Sprintf("acc-%d", i))
	}
	h.save(t, "u1", ids...)
	h.save(t, "u2", ids...)
	client := newClient(t, broker.Addrs())
	out := read(t, client, "preferences.cleaned")
	launch(t, url, broker.Addrs()).awaitReady(t)
	launch(t, url, broker.Addrs()).awaitReady(t)
	publisher := kafka.NewPublisher(client, kafka.PublisherConfig{})
	for i, id := range ids {
		e := event(0, deleted, "e-"+id, id, time.Now())
		results := publisher.Publish(t.Context(), []outbox.Message{{ID: int64(i), EventID: uuid.New(), Topic: accountEvents, Key: e.Key, Value: e.Value}})
		require.NoError(t, results[0])
	}
	h.await(t, "select 1 where (select count(*) from operations where state = 'succeeded') = 30")
	require.Empty(t, h.shown(t, "u1"))
	require.Empty(t, h.shown(t, "u2"))
	eventually(t, "every event is out", func() bool { return len(out.of("preferences.cleaned")) >= len(h.cleaned(t)) })
}

func TestOperationsRunWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	h := openAt(t, url)
	h.save(t, "u", "acc-1", "acc-2")
	release := h.hold(t, "u")
	h.settle(t, event(0, deleted, "e1", "acc-1", time.Now()))
	release()

	c := launch(t, url, []string{"127.0.0.1:1"})
	h.await(t, "select count(*) from operations where state = 'succeeded'")
	require.Equal(t, []string{"acc-2:1"}, h.shown(t, "u"))
	status, body := c.get(t, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, `"waiting":["kafka"]`)
	status, _ = c.get(t, "/livez")
	require.Equal(t, http.StatusOK, status)
	require.ErrorContains(t, telemetry.Probe(t.Context(), strings.TrimPrefix(c.url, "http://")), "kafka")
	c.stop()
	require.Error(t, telemetry.Probe(t.Context(), strings.TrimPrefix(c.url, "http://")), "nobody answers")
}

func TestPendingMigrationsAreWaitedFor(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.NewEmpty(t)
	c := launch(t, url, broker.Addrs())
	eventually(t, "it says what it waits for", func() bool {
		status, body := c.get(t, "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, `"waiting":["migrations"]`)
	})
	status, _ := c.get(t, "/livez")
	require.Equal(t, http.StatusOK, status)

	db, err := postgres.Plain(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = migrations.Up(t.Context(), db)
	require.NoError(t, err)
	c.awaitReady(t)
	require.NoError(t, telemetry.Probe(t.Context(), strings.TrimPrefix(c.url, "http://")))
}

func TestMigrationsRunWhereTheyMay(t *testing.T) {
	t.Parallel()
	broker, url := newBroker(t), pgtest.NewEmpty(t)
	launch(t, url, broker.Addrs(), "--migrate=on").awaitReady(t)
}

func TestADatabaseThatComesLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := pgtest.StartPrivate(t)
	require.NoError(t, server.Stop())
	broker := newBroker(t)
	c := launch(t, server.URL(), broker.Addrs())
	eventually(t, "alive", func() bool {
		status, _ := c.get(t, "/livez")
		return status == http.StatusOK
	})
	require.NoError(t, server.Start(t.Context()))
	c.awaitReady(t)
}

func TestAMistakeInTheConfigurationEndsTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	own := `[{"name":"a","entityType":"a","events":{"topic":"preferences.cleaned","idField":"id","deleted":"d"}}]`
	twice := `[{"name":"a","entityType":"a","events":{"topic":"t","idField":"id","deleted":"d"}},{"name":"b","entityType":"b","events":{"topic":"t","idField":"id","deleted":"d"}}]`
	url := pgtest.New(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no such file":     {[]string{"--domains-file=" + filepath.Join(dir, "none")}, "--domains-file"},
		"not JSON":         {[]string{"--domains-file=" + file("broken", "[")}, "--domains-file"},
		"own topic":        {[]string{"--domains-file=" + file("own", own)}, "preferences.cleaned is a topic of our own"},
		"two meanings":     {[]string{"--domains-file=" + file("twice", twice)}, "domain b: events of type d on t have another meaning already"},
		"no broker's name": {[]string{"--kafka-brokers=nowhere"}, "nowhere"},
		"address in use":   {[]string{"--admin-addr=256.0.0.1:1"}, "--admin-addr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := parse(t, append([]string{"--database-url=" + url, "--kafka-brokers=127.0.0.1:1", "--admin-addr=127.0.0.1:0"}, tc.args...)...)
			err := consumer.Run(t.Context(), cfg, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestConfigurationHasDefaultsAndLimits(t *testing.T) {
	t.Parallel()
	cfg := parse(t, "--database-url=x", "--kafka-brokers=a:1,b:2")
	require.Equal(t, "127.0.0.1:9091", cfg.AdminAddr)
	require.Equal(t, "prefsd", cfg.Group)
	require.True(t, bool(cfg.Relay.Enabled))
	for _, group := range []string{" x", strings.Repeat("x", 250)} {
		_, err := config.Parse[consumer.Config]("consumer", "", []string{"--database-url=x", "--kafka-brokers=a:1", "--kafka-group=" + group},
			func(string) (string, bool) { return "", false })
		require.ErrorContains(t, err, "--kafka-group")
	}
}

func TestDomainsOfAFileNeedNoCode(t *testing.T) {
	t.Parallel()
	broker, err := devkafka.Start(devkafka.Config{Topics: []devkafka.Topic{
		{Name: "ticket.events", Partitions: 2}, {Name: "preferences.events", Partitions: 1}, {Name: "preferences.cleaned", Partitions: 1}, {Name: deadLetters, Partitions: 1},
	}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	path := filepath.Join(t.TempDir(), "domains.json")
	require.NoError(t, os.WriteFile(path, []byte(`[{"name":"tickets","entityType":"ticket",
		"events":{"topic":"ticket.events","idField":"number","deleted":"ticket.closed","restored":"ticket.reopened"}}]`), 0o600))
	url := pgtest.New(t)
	h := openAt(t, url)
	launch(t, url, broker.Addrs(), "--domains-file="+path, "--topic-user-events=")
	results := kafka.NewPublisher(newClient(t, broker.Addrs()), kafka.PublisherConfig{}).Publish(t.Context(), []outbox.Message{{
		EventID: uuid.New(), Topic: "ticket.events", Key: []byte("T-1"),
		Value: []byte(`{"eventType":"ticket.closed","eventId":"e1","timestamp":"2024-10-07T17:00:00Z","data":{"number":"T-1"}}`),
	}})
	require.NoError(t, results[0])
	h.await(t, "select count(*) from deleted_entities where entity_type = 'ticket' and entity_id = 'T-1' and deleted and cleaned_at is not null")
}
