package ctl_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/services/ctl"
)

type diagnosisJSON struct{ Check, State, Says, Next string }

// examined runs prefsctl doctor and returns what it says of each check.
func examined(t *testing.T, vars map[string]string, code int, args ...string) map[string]diagnosisJSON {
	t.Helper()
	r := prefsctl(t, vars, append([]string{"doctor", "--json"}, args...)...)
	require.Equal(t, code, r.code, "%s%s", r.out, r.err)
	require.NotContains(t, r.out+r.err, "hunter2")
	var body struct {
		Failed int
		Checks []diagnosisJSON
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &body), r.out)
	all, failed := map[string]diagnosisJSON{}, 0
	for _, d := range body.Checks {
		all[d.Check] = d
		require.NotEmpty(t, d.Says, d.Check)
		switch d.State {
		case "OK":
			require.Empty(t, d.Next, d.Check)
		case "FAIL":
			failed++
		}
	}
	require.Equal(t, failed, body.Failed)
	require.Equal(t, failed > 0, code == ctl.Amiss)
	return all
}

// owners answers for the owner of accounts and for the issuer of tokens, badly
// where it is told to.
func owners(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/accounts", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := map[string]any{"accounts": []string{}, "notFound": strings.Split(r.URL.Query().Get("ids"), ",")}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			panic(err)
		}
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys": [{"kty": "EC"}]}`)) })
	mux.HandleFunc("/nokeys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys": []}`)) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDoctorFindsNothingWrongWithWhatIsWell(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kafkatest.InProcess(t))
	others := owners(t)
	var all map[string]diagnosisJSON
	until(t, "the consumer has joined and the relay leads", func() bool {
		r := prefsctl(t, o.vars, "doctor")
		return r.code == ctl.Done && strings.Contains(r.out, "Stable")
	})
	all = examined(t, o.vars, ctl.Done, "--directory-url="+others+"/accounts", "--auth-jwks-url="+others+"/keys")
	for _, check := range []string{
		"database", "clock", "connections", "transactions", "schema", "privileges", "relay", "outbox", "quarantine", "operations",
		"brokers", "consumers", "consumption", "dead letters", "directory", "keys",
	} {
		require.Equal(t, "OK", all[check].State, all[check])
	}
	topic := all["topic "+o.accounts]
	require.Equal(t, "OK", topic.State, topic)
	require.Contains(t, topic.Says, "1 partitions, ")

	r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": o.url}, "doctor")
	require.Equal(t, ctl.Done, r.code, r.out)
	require.Regexp(t, `(?m)^brokers +SKIP +none are given +name them in PREFS_KAFKA_BROKERS$`, r.out)
	require.Regexp(t, `(?m)^directory +SKIP `, r.out)
	require.Regexp(t, `(?m)^api +SKIP `, r.out)
	require.Regexp(t, `(?m)^keys +SKIP `, r.out)
	require.Equal(t, ctl.Misused, prefsctl(t, o.vars, "doctor", "--timeout=0s").code)
}

func TestDoctorFindsWhatIsAway(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"PREFS_DATABASE_URL": "postgres://nobody:hunter2@127.0.0.1:1/none", "PREFS_KAFKA_BROKERS": "127.0.0.1:1"}
	all := examined(t, vars, ctl.Amiss, "--timeout=1s", "--api-url=http://127.0.0.1:1", "--api-token=hunter2")
	require.Equal(t, "FAIL", all["api"].State)
	require.Contains(t, all["api"].Next, "PREFS_API_URL")
	require.NotContains(t, all, "status")
	require.Equal(t, "FAIL", all["database"].State)
	require.Equal(t, "FAIL", all["brokers"].State)
	require.Contains(t, all["brokers"].Next, "PREFS_KAFKA_BROKERS")
	require.NotContains(t, all, "schema", "nobody can know")

	all = examined(t, map[string]string{"PREFS_DATABASE_URL": pgtest.NewEmpty(t)}, ctl.Amiss)
	require.Equal(t, "OK", all["database"].State)
	require.Equal(t, "FAIL", all["schema"].State)
	require.Equal(t, "run prefsctl migrate up", all["schema"].Next)
	require.NotContains(t, all, "outbox")

	others := owners(t)
	for path, says := range map[string]string{"/nokeys": "0 published", "/page": "read keys", "/nothing": "404"} {
		keys := examined(t, map[string]string{"PREFS_DATABASE_URL": pgtest.New(t)}, ctl.Amiss, "--auth-jwks-url="+others+path)["keys"]
		require.Equal(t, "FAIL", keys.State, path)
		require.Contains(t, keys.Says, says)
	}
	directory := examined(t, map[string]string{"PREFS_DATABASE_URL": pgtest.New(t)}, ctl.Amiss, "--directory-url="+others+"/nothing")["directory"]
	require.Equal(t, "FAIL", directory.State)
	require.Contains(t, directory.Next, "PREFS_DIRECTORY_URL")
}

func TestDoctorFindsWhatIsWrongWithADatabase(t *testing.T) {
	t.Parallel()
	const pending = "insert into operations (id, kind, state, actor, request, created_at, next_attempt_at, finished_at) values (gen_random_uuid(), 'cleanEntity', "
	for name, tc := range map[string]struct{ damage, check, state, says, next string }{
		"it only reads":          {"do $$ begin execute format('alter database %I set default_transaction_read_only to on', current_database()); end $$", "database", "FAIL", "only read", "default_transaction_read_only"},
		"commits are not synced": {"do $$ begin execute format('alter database %I set synchronous_commit to off', current_database()); end $$", "settings", "WARN", "synchronous_commit=off", "lose"},
		"sessions are cut":       {"do $$ begin execute format('alter database %I set idle_session_timeout to 1000', current_database()); end $$", "settings", "WARN", "idle_session_timeout", "cut"},
		"the relay is paused":    {"insert into outbox_relays (name, paused) values ('main', true)", "relay", "WARN", "paused", "prefsctl outbox resume"},
		"no relay runs":          {"delete from outbox_relays", "relay", "FAIL", "none", "PREFS_RELAY=on"},
		"it was restored":        {"insert into outbox_relays (name, system_identifier) values ('main', 1)", "relay", "FAIL", "stands still", "prefsctl outbox reanchor"},
		"events are late":        {"insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, created_at) values (gen_random_uuid(), 'a', 'k', 1, 't', 'x', now() - interval '1 minute')", "outbox", "WARN", "1 unpublished, the oldest for 1m", "outbox status --watch"},
		"events are too late":    {"insert into outbox (event_id, aggregatetype, aggregateid, aggregate_seq, type, topic, created_at) values (gen_random_uuid(), 'a', 'k', 1, 't', 'x', now() - interval '1 hour')", "outbox", "FAIL", "the oldest for 1h", "outbox status --watch"},
		"an event is refused":    {"insert into outbox_quarantine (event_id, xid, id, aggregatetype, aggregateid, aggregate_seq, type, schema_version, topic, headers, created_at, attempts, reason, error) values (gen_random_uuid(), '1', 1, 'a', 'k', 1, 't', 1, 'x', '[]', now(), 1, 'refused', '')", "quarantine", "FAIL", "1 events of 1 keys", "prefsctl outbox quarantine ls"},
		"an operation is stuck":  {pending + "'pending', 'a', '{}', now() - interval '1 hour', now() - interval '1 hour', null)", "operations", "FAIL", "1 of them stuck", "consumer runs"},
		"an operation failed":    {pending + "'failed', 'a', '{}', now(), now(), now())", "operations", "WARN", "1 failed", "prefsctl operations ls"},
		"consumers are silent":   {"insert into consumer_lags values ('c', 't', 0, 5, 'o', now() - interval '1 hour')", "consumer lag", "WARN", "5 records wait in 1 partitions, as consumers wrote 1h", "consumer runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.New(t)
			db, err := postgres.Plain(url)
			require.NoError(t, err)
			damage(t, db, tc.damage)
			require.NoError(t, db.Close())
			r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": url}, "doctor", "--json")
			var body struct{ Checks []diagnosisJSON }
			require.NoError(t, json.Unmarshal([]byte(r.out), &body), r.out)
			found := map[string]diagnosisJSON{}
			for _, d := range body.Checks {
				found[d.Check] = d
			}
			got := found[tc.check]
			require.Equal(t, tc.state, got.State, got)
			require.Contains(t, got.Says, tc.says)
			require.Contains(t, got.Next, tc.next)
		})
	}
}

func TestDoctorFindsWhatIsWrongWithTheBrokers(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kafkatest.InProcess(t))
	o.send("acc-1", "no JSON")
	o.await(1)
	o.close()
	users, compacted, brief := o.vars["PREFS_TOPIC_USER_EVENTS"], kafkatest.Name("compacted"), kafkatest.Name("brief")
	_, err := o.client.EnsureTopics(t.Context(), []kafka.TopicSpec{
		{Name: compacted, Partitions: 1, Config: map[string]string{"cleanup.policy": "compact"}},
		{Name: brief, Partitions: 1, Config: map[string]string{"retention.ms": "60000"}},
	})
	require.NoError(t, err)
	o.vars["PREFS_TOPIC_PREFERENCES_CLEANED"], o.vars["PREFS_TOPIC_PREFERENCES_EVENTS"], o.vars["PREFS_TOPIC_USER_EVENTS"] = compacted, brief, "nowhere"
	all := examined(t, o.vars, ctl.Amiss)
	for check, want := range map[string][3]string{
		"topic nowhere":      {"FAIL", "does not exist", "prefsctl topics create"},
		"topic " + compacted: {"FAIL", "compacted", "cleanup.policy=delete"},
		"topic " + brief:     {"WARN", "kept for 1m0s", "PREFS_OUTBOX_RETENTION (24h"},
		"consumers":          {"FAIL", "has 0 members", "start a consumer"},
		"dead letters":       {"WARN", "1 are open", "prefsctl dlq ls"},
		"relay":              {"FAIL", "none runs", "PREFS_RELAY=on"},
	} {
		require.Equal(t, want[0], all[check].State, all[check])
		require.Contains(t, all[check].Says, want[1])
		require.Contains(t, all[check].Next, want[2])
	}
	require.Equal(t, "OK", all["consumption"].State)
	o.vars["PREFS_TOPIC_USER_EVENTS"] = users
	o.produce(&kgo.Record{Topic: users, Key: []byte("alice"), Value: []byte("{}"), Timestamp: time.Now().Add(-time.Hour)})
	all = examined(t, o.vars, ctl.Amiss)
	require.Equal(t, "WARN", all["consumption"].State, all["consumption"])
	require.Contains(t, all["consumption"].Says, "1 records have waited")
}

func TestDoctorFindsWhatARoleMayNotDo(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(pgtest.New(t))
	require.NoError(t, err)
	db, err := postgres.Plain(at.String())
	require.NoError(t, err)
	role := "reader_" + strings.ReplaceAll(kafkatest.Name(""), "-", "_")
	defer func() {
		_, dropped := db.ExecContext(context.WithoutCancel(t.Context()), "drop owned by "+role+"; drop role "+role)
		require.NoError(t, errors.Join(dropped, db.Close()))
	}()
	damage(t, db, "create role "+role+" login password 'reads'; grant select on all tables in schema public to "+role)
	at.User = url.UserPassword(role, "reads")
	all := examined(t, map[string]string{"PREFS_DATABASE_URL": at.String()}, ctl.Amiss)
	require.Equal(t, "FAIL", all["privileges"].State, all)
	require.Regexp(t, "except INSERT on preference_lists, .* and [0-9]+ more", all["privileges"].Says)
}
