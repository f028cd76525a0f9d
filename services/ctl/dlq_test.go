package ctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/consumer"
	"github.com/prefsd/prefsd/services/ctl"
)

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) kafkatest.Broker{"in-process broker": kafkatest.InProcess, "Apache Kafka": kafkatest.Real} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadLetters(newOffice(t, start(t)))
		})
	}
}

// office is a consumer that real poison is sent to.
type office struct {
	*testing.T
	broker   kafkatest.Broker
	client   *kafka.Client
	vars     map[string]string
	accounts string // topic
	url      string
	lists    *preferences.Service
	close    func() // ends the consumer
}

func newOffice(t *testing.T, b kafkatest.Broker) *office {
	t.Helper()
	o := &office{T: t, broker: b, url: pgtest.New(t), accounts: kafkatest.Topic(t, b, 1)}
	o.vars = map[string]string{
		"PREFS_DATABASE_URL": o.url, "PREFS_KAFKA_BROKERS": strings.Join(b.Addrs(), ","), "PREFS_KAFKA_GROUP": kafkatest.Name("group"),
		"PREFS_TOPIC_ACCOUNT_EVENTS": o.accounts, "PREFS_TOPIC_USER_EVENTS": kafkatest.Topic(t, b, 1),
		"PREFS_TOPIC_PREFERENCES_EVENTS": kafkatest.Topic(t, b, 2), "PREFS_TOPIC_PREFERENCES_CLEANED": kafkatest.Topic(t, b, 1),
		"PREFS_TOPIC_DEAD_LETTERS": kafkatest.Topic(t, b, 1),
	}
	o.client = kafkatest.Client(t, b, o.accounts, o.vars["PREFS_TOPIC_PREFERENCES_EVENTS"])
	announcer := preferences.Announcer{
		EventsTopic: o.vars["PREFS_TOPIC_PREFERENCES_EVENTS"], CleanedTopic: o.vars["PREFS_TOPIC_PREFERENCES_CLEANED"], Source: events.Source("test"),
	}
	store, err := postgres.Open(postgres.Config{URL: o.url, Announcer: announcer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	o.lists = preferences.New(preferences.Options{Store: store, Announcer: announcer})
	o.close = o.consume()
	return o
}

// consume runs the consumer that cmd/consumer would start.
func (o *office) consume() (end func()) {
	o.Helper()
	cfg, err := config.Parse[consumer.Config]("consumer", "", nil, func(name string) (string, bool) {
		v, ok := o.vars[name]
		return v, ok
	})
	require.NoError(o, err)
	var sockets net.ListenConfig
	cfg.Listener, err = sockets.Listen(o.Context(), "tcp", "127.0.0.1:0")
	require.NoError(o, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.Context()))
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	end = sync.OnceFunc(func() {
		cancel()
		require.NoError(o, <-ended)
	})
	o.Cleanup(end)
	return end
}

// send publishes a record to the accounts' topic as any program could: with
// kcat.
func (o *office) send(key, value string) {
	o.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		o.Skip("kcat is not on the PATH")
	}
	cmd := exec.CommandContext(o.Context(), path, "-b", strings.Join(o.broker.Addrs(), ","), "-q", "-P", "-t", o.accounts, "-k", key, "-H", "origin=kcat")
	cmd.Stdin = strings.NewReader(value)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(o, cmd.Run(), stderr.String())
}

// dlq runs prefsctl dlq and reads what it prints as JSON.
func (o *office) dlq(code int, args ...string) dlqJSON {
	o.Helper()
	r := prefsctl(o.T, o.vars, append(append([]string{"dlq"}, args...), "--json")...)
	require.Equal(o, code, r.code, "%s%s", r.out, r.err)
	var body dlqJSON
	require.NoError(o, json.Unmarshal([]byte(r.out), &body), r.out)
	return body
}

type dlqJSON struct {
	Redriven, Discarded, Strangers int
	Letters                        []struct {
		Place, State, Class, Code, Type, EventID, Key string
		Fate                                          string
		Letters, Replays                              int
	}
}

// await waits until so many letters are listed.
func (o *office) await(n int, args ...string) dlqJSON {
	o.Helper()
	var body dlqJSON
	until(o.T, fmt.Sprintf("%d letters are listed", n), func() bool {
		r := prefsctl(o.T, o.vars, append([]string{"dlq", "ls", "--json"}, args...)...)
		body = dlqJSON{}
		return json.Unmarshal([]byte(r.out), &body) == nil && len(body.Letters) == n
	})
	return body
}

// sent is how many records the accounts' topic has.
func (o *office) sent() int64 {
	o.Helper()
	_, end, err := o.client.Bounds(o.Context(), o.accounts)
	require.NoError(o, err)
	return end[0]
}

func deletion(id, account string) string {
	return fmt.Sprintf(`{"eventType":"account.deleted","eventId":%q,"timestamp":%q,"data":{"accountId":%q}}`,
		id, time.Now().UTC().Format(time.RFC3339Nano), account)
}

// deadLetters is the life of three poisoned events and an innocent one.
func deadLetters(o *office) {
	o.Helper()
	t := o.T
	_, err := o.lists.Replace(t.Context(), "alice", "accounts", preferences.By{Actor: "alice"}, preferences.Terms{},
		[]preferences.Input{{EntityID: "acc-1"}, {EntityID: "acc-2"}})
	require.NoError(t, err)
	require.Equal(t, result{ctl.Done, "PLACE  STATE  FAILED  CLASS  CODE  TYPE  KEY  ORIGINAL  ATTEMPTS  REPLAYS\n", ""}, prefsctl(t, o.vars, "dlq", "ls"))

	o.send("acc-1", "no JSON")
	o.send("acc-2", deletion("e2", "acc 2"))
	o.send("acc-3", deletion("e3", "acc 3"))
	letters := o.await(3).Letters
	require.Equal(t, "0/0", letters[0].Place)
	require.Equal(t, []string{"open", "poison", "INVALID_EVENT", "acc-1", ""},
		[]string{letters[0].State, letters[0].Class, letters[0].Code, letters[0].Key, letters[0].Type})
	require.Equal(t, "e2", letters[1].EventID)
	r := prefsctl(t, o.vars, "dlq", "show", "0/0")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Regexp(t, `(?m)^value +no JSON$`, r.out)
	require.Regexp(t, `(?m)^header origin +kcat$`, r.out)
	require.Regexp(t, `(?m)^failed first +[0-9]`, r.out)
	require.Regexp(t, `(?m)^given up by +[^ ]+$`, r.out)
	require.Regexp(t, `(?m)^key hash +sha256:[0-9a-f]{64}$`, r.out)
	require.Equal(t, ctl.Failed, prefsctl(t, o.vars, "dlq", "show", "0/99").code)

	before := o.sent()
	plan := o.dlq(ctl.Done, "redrive", "--all", "--dry-run").Letters
	require.Len(t, plan, 2, "a row for each reason")
	require.Equal(t, []any{2, "account.deleted", "would be redriven"}, []any{plan[0].Letters, plan[0].Type, plan[0].Fate})
	require.Len(t, o.dlq(ctl.Done, "redrive", "--dry-run", "--type=account.deleted", "--key=acc-2", "--since=1h").Letters, 1)
	require.Empty(t, o.dlq(ctl.Done, "redrive", "--dry-run", "--class=exhausted").Letters)
	require.Empty(t, o.dlq(ctl.Done, "redrive", "--dry-run", "--after=0/2").Letters)
	require.Equal(t, before, o.sent(), "a dry run sends nothing")

	// Poison does not loop: it is sent twice and then left.
	for replay := 1; replay <= 2; replay++ {
		require.Equal(t, 1, o.dlq(ctl.Done, "redrive", "--key=acc-1", "--max-replays=2").Redriven)
		until(t, "it is back", func() bool {
			l := o.await(1, "--key=acc-1").Letters[0]
			return l.State == "open" && l.Replays == replay
		})
	}
	left := o.dlq(ctl.Done, "redrive", "--key=acc-1", "--max-replays=2")
	require.Zero(t, left.Redriven)
	require.Equal(t, "left: it was sent again too often", left.Letters[0].Fate)
	states := map[string]int{}
	for _, l := range o.await(5, "--all").Letters {
		states[l.State]++
	}
	require.Equal(t, map[string]int{"open": 3, "superseded": 2}, states)

	require.Equal(t, 1, o.dlq(ctl.Done, "discard", "--dry-run", "0/1").Letters[0].Letters)
	require.Equal(t, 1, o.dlq(ctl.Done, "discard", "0/1").Discarded)
	require.Len(t, o.dlq(ctl.Amiss, "ls").Letters, 2)
	o.send("acc-2", deletion("e2", "acc-2"))
	until(t, "the owner's correction of a discarded event is applied", func() bool { return o.shown() == "acc-1" })

	require.Equal(t, 2, o.dlq(ctl.Done, "discard", "--all").Discarded)
	require.Empty(t, o.dlq(ctl.Done, "ls").Letters)
	o.mended()
	require.Equal(t, ctl.Misused, prefsctl(t, o.vars, "dlq", "redrive").code)
	o.askedInVain()
	require.Equal(t, ctl.Misused, prefsctl(t, o.vars, "dlq", "discard", "17").code)
}

// askedInVain names letters that nothing can be done about: nobody may take that
// for done.
func (o *office) askedInVain() {
	o.Helper()
	for _, verb := range []string{"redrive", "discard"} {
		r := prefsctl(o.T, o.vars, "dlq", verb, "0/99", "0/1")
		require.Equal(o, ctl.Failed, r.code, "%s: %s", verb, r.out)
		require.Contains(o, r.err, "no dead letter stands at 0/99\n", verb)
		settled := o.dlq(ctl.Done, verb, "0/1").Letters
		require.Len(o, settled, 1, verb)
		require.Equal(o, "left: it is settled", settled[0].Fate, verb)
	}
}

func (o *office) shown() string {
	o.Helper()
	list, err := o.lists.List(o.Context(), "alice", "accounts")
	require.NoError(o, err)
	var ids []string
	for _, it := range list.Items {
		ids = append(ids, it.EntityID)
	}
	return strings.Join(ids, " ")
}

// mended is an event that fails for a reason of ours, until that is mended.
func (o *office) mended() {
	o.Helper()
	db, err := postgres.Plain(o.url)
	require.NoError(o, err)
	defer func() { require.NoError(o, db.Close()) }()
	_, err = db.ExecContext(o.Context(), "alter table deleted_entities rename to mislaid")
	require.NoError(o, err)
	o.send("acc-1", deletion("e1", "acc-1"))
	letter := o.await(1).Letters[0]
	require.Equal(o, []string{"exhausted", "account.deleted", "e1"}, []string{letter.Class, letter.Type, letter.EventID})
	_, err = db.ExecContext(o.Context(), "alter table mislaid rename to deleted_entities")
	require.NoError(o, err)
	require.Equal(o, 1, o.dlq(ctl.Done, "redrive", "--class=exhausted", "--topic="+o.accounts).Redriven)
	until(o.T, "it is applied", func() bool { return o.shown() == "" })
	o.await(0)
	all := o.dlq(ctl.Done, "ls", "--all").Letters
	require.Equal(o, "applied", all[len(all)-1].State)
}
