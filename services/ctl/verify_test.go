package ctl_test

import (
	"database/sql"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/ctl"
)

type verifyJSON struct {
	Violations int
	TopicsRead bool
	Checked    struct{ Lists, Items, Changes, Events, Cleans, Records int }
	Invariants []struct {
		Name, State string
		Violations  int
	}
	Findings []struct{ Invariant, Subject, Problem string }
}

// verified runs prefsctl verify.
func (o *office) verified(code int, args ...string) verifyJSON {
	o.Helper()
	r := prefsctl(o.T, o.vars, append([]string{"verify", "--json", "--samples=100"}, args...)...)
	require.Equal(o, code, r.code, "%s%s", r.out, r.err)
	require.NotContains(o, r.out+r.err, "sunflower", "the value of an attribute")
	var body verifyJSON
	require.NoError(o, json.Unmarshal([]byte(r.out), &body), r.out)
	return body
}

func (v verifyJSON) of(invariant string) int {
	for _, i := range v.Invariants {
		if i.Name == invariant {
			return i.Violations
		}
	}
	return -1
}

// settled is an office behind which all is quiet: lists were saved and cleaned,
// and its consumer has gone home.
func settled(t *testing.T) *office {
	t.Helper()
	o := newOffice(t, kafkatest.InProcess(t))
	for _, user := range []string{"alice", "bob"} {
		for n := range 2 {
			_, err := o.lists.Replace(t.Context(), user, "accounts", preferences.By{Actor: user}, preferences.Terms{}, []preferences.Input{
				{EntityID: "acc-1", Attributes: json.RawMessage(`{"colour": "sunflower"}`)}, {EntityID: "acc-2"}, {EntityID: "acc-3"},
			}[n:])
			require.NoError(t, err)
		}
	}
	o.send("acc-2", deletion("e1", "acc-2"))
	until(t, "the clean is announced", func() bool {
		r := prefsctl(t, o.vars, "outbox", "status", "--json")
		var s struct{ Unpublished int }
		return o.shown() == "acc-3" && json.Unmarshal([]byte(r.out), &s) == nil && s.Unpublished == 0
	})
	o.close()
	return o
}

// Each row breaks one promise, on top of what those before it have broken.
func TestVerifyFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	o := settled(t)
	sound := o.verified(ctl.Done)
	require.Zero(t, sound.Violations, sound.Findings)
	require.Equal(t, [...]int{2, 2, 6, 5, 1, 5}, [...]int{
		sound.Checked.Lists, sound.Checked.Items, sound.Checked.Changes, sound.Checked.Events, sound.Checked.Cleans, sound.Checked.Records,
	})
	db, err := postgres.Plain(o.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()

	const alice = "(select list_id from preference_lists where user_id = 'alice')"
	before := sound
	for _, plant := range []struct {
		invariant, damage string
		send              func()
	}{
		{invariant: "I9", damage: "insert into operations (id, kind, state, actor, request) values (gen_random_uuid(), 'reconcile', 'failed', 'a', '{}')"},
		{invariant: "I9", damage: "insert into operations (id, kind, state, actor, request, created_at, next_attempt_at) values (gen_random_uuid(), 'verify', 'pending', 'a', '{}', now() - interval '1 hour', now() - interval '1 hour')"},
		{invariant: "I5", send: o.repeatElsewhere},
		{invariant: "I4", send: o.invent},
		{invariant: "I4", damage: "update outbox set payload = payload || ' ' where id = 1"},
		{invariant: "I7", damage: "update inbox set event_id = 'another', processed_at = now() - interval '2 hours'; update deleted_entities set recorded_at = now() - interval '1 hour'"},
		{invariant: "I10", damage: "alter table preferences drop constraint preferences_pkey; insert into preference_lists (user_id, domain) values ('eve', 'accounts');" +
			"insert into preferences select id, (select max(list_id) from preference_lists), created_at, updated_at, position, version, entity_type, entity_id, attributes from preferences where list_id = " + alice},
		{invariant: "I2", damage: "update deleted_entities set entity_id = 'acc-3'"},
		{invariant: "I6", damage: "delete from outbox where type = 'preferences.cleaned'"},
		{invariant: "I3", damage: "update preference_lists set version = version + 1 where user_id = 'bob'"},
		{invariant: "I8", damage: `update preferences set attributes = '{"colour": "sunflower"}' where list_id = ` + alice},
		{invariant: "I11", damage: "delete from preferences where list_id = " + alice},
		{invariant: "I1", damage: "insert into preferences (id, list_id, position, entity_type, entity_id) select gen_random_uuid(), list_id, 7, 'account', 'acc-' || n from preference_lists, generate_series(7, 8) n where user_id = 'alice'"},
		{invariant: "contract", damage: `update outbox set payload = convert_to('{"eventType": "preferences.updated", "data": {"listId": 1, "version": 1}}', 'UTF8') where id = 1`},
	} {
		if plant.damage != "" {
			_, err := db.ExecContext(t.Context(), plant.damage)
			require.NoError(t, err, plant.damage)
		} else {
			plant.send()
		}
		after := o.verified(ctl.Amiss)
		require.Greater(t, after.of(plant.invariant), before.of(plant.invariant), "%s: %v", plant.invariant, after.Findings)
		before = after
	}
}

// repeatElsewhere delivers the first event once more, in another partition.
func (o *office) repeatElsewhere() {
	o.Helper()
	topic := o.vars["PREFS_TOPIC_PREFERENCES_EVENTS"]
	var again *kgo.Record
	require.NoError(o, o.client.Scan(o.Context(), topic, nil, func(r kafka.Record) error {
		again = &kgo.Record{Topic: topic, Partition: int32(1 - r.Partition), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			again.Headers = append(again.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		return nil
	}))
	o.produce(again)
}

// invent delivers an event that nobody has written.
func (o *office) invent() {
	o.Helper()
	o.produce(&kgo.Record{Topic: o.vars["PREFS_TOPIC_PREFERENCES_CLEANED"], Key: []byte("acc-7"), Value: []byte("{}")})
}

func (o *office) produce(r *kgo.Record) {
	o.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.broker.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(o, err)
	defer client.Close()
	require.NoError(o, client.ProduceSync(o.Context(), r).FirstErr())
}

func TestVerifyNeedsNoBrokersAndSaysWhatItSkips(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": url}, "verify")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Regexp(t, `(?m)^I1 +holds +0 +orders are dense`, r.out)
	require.Regexp(t, `(?m)^I5 +skipped +0 +`, r.out)
	require.Contains(t, r.err, "looked at 0 lists")
	require.Contains(t, r.err, "--kafka-brokers names the brokers")

	db, err := postgres.Plain(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	damage(t, db, "insert into preference_lists (user_id, domain, version) select 'u' || n, 'accounts', 1 from generate_series(1, 9) n")
	r = prefsctl(t, map[string]string{"PREFS_DATABASE_URL": url}, "verify", "--samples=2")
	require.Equal(t, ctl.Amiss, r.code, r.err)
	require.Regexp(t, `(?m)^I3 +broken +9 +`, r.out)
	require.Regexp(t, `(?m)^I3 +sample +list 1 has version 1 and no history$`, r.out)
	require.NotContains(t, r.out, "list 3 has")
}

func damage(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// Work that is under way is no violation, and that which has stood still is.
func TestVerifyIsPatient(t *testing.T) {
	t.Parallel()
	o := settled(t)
	o.send("acc-3", deletion("e2", "acc-3"))
	_, err := o.lists.Replace(t.Context(), "carol", "accounts", preferences.By{Actor: "carol"}, preferences.Terms{}, []preferences.Input{{EntityID: "acc-4"}})
	require.NoError(t, err)
	require.Zero(t, o.verified(ctl.Done).Violations)
	until(t, "it has waited for too long", func() bool {
		r := prefsctl(t, o.vars, "verify", "--patience=10ms")
		return r.code == ctl.Amiss
	})
	late := o.verified(ctl.Amiss, "--patience=10ms")
	require.Equal(t, 2, late.Violations, late.Findings)
	require.Equal(t, "unpublished events", late.Findings[0].Subject)
	require.Equal(t, "group "+o.vars["PREFS_KAFKA_GROUP"], late.Findings[1].Subject)
	require.Equal(t, ctl.Misused, prefsctl(t, o.vars, "verify", "--patience=0s").code)
}
