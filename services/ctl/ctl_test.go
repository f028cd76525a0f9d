package ctl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/devkafka"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/outbox"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/services/ctl"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// result is what a run of prefsctl left behind.
type result struct {
	code     int
	out, err string
}

// prefsctl runs it with the variables and the words of a command line.
func prefsctl(t *testing.T, vars map[string]string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := ctl.Run(t.Context(), ctl.Process{
		Args: args, Version: "v1.2.3", Out: &out, Err: &err,
		Lookup: func(name string) (string, bool) {
			v, ok := vars[name]
			return v, ok
		},
	})
	return result{code, out.String(), err.String()}
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z?)?`)

// table compares a table, its times aside.
func table(t *testing.T, want, got string) {
	t.Helper()
	got = times.ReplaceAllString(got, "TIME")
	require.Equal(t, strings.TrimLeft(want, "\n"), got)
}

func TestHelpDocumentsExitCodesAndSettings(t *testing.T) {
	t.Parallel()
	r := prefsctl(t, nil, "--help")
	require.Equal(t, ctl.Done, r.code)
	require.Contains(t, r.out, "Exit codes: 0 done")
	for _, command := range []string{"migrate up", "migrate down", "migrate status", "migrate validate", "token", "topics create", "topics check", "outbox status", "outbox replay", "outbox quarantine release", "dlq redrive"} {
		require.Contains(t, r.out, command)
	}
	require.Contains(t, prefsctl(t, nil, "migrate", "up", "--help").out, "PREFS_DATABASE_URL_FILE")
	help := prefsctl(t, nil, "topics", "create", "--help").out
	require.Contains(t, help, "PREFS_KAFKA_BROKERS")
	require.Contains(t, help, "PREFS_TOPIC_DEAD_LETTERS")
	require.NotContains(t, help, "PREFS_DIR")
	require.Equal(t, result{ctl.Done, "v1.2.3\n", ""}, prefsctl(t, nil, "--version"))
}

func TestMisuseIsNotFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no command":        {nil, "expected one of"},
		"unknown command":   {[]string{"destroy"}, "destroy"},
		"unknown flag":      {[]string{"topics", "check", "--force"}, "--force"},
		"no database":       {[]string{"migrate", "up"}, "prefsctl: not set: PREFS_DATABASE_URL (--database-url)\n"},
		"no brokers":        {[]string{"topics", "check"}, "PREFS_KAFKA_BROKERS"},
		"no subject":        {[]string{"token"}, "--subject"},
		"nothing runs":      {[]string{"migrate", "up", "--dir", t.TempDir()}, "nothing runs in"},
		"negative lifetime": {[]string{"token", "--subject=a", "--lifetime=-1s"}, "--lifetime"},
		"unknown scope":     {[]string{"token", "--subject=a", "--scope=root"}, "--scope must be preferences.system or preferences.admin"},
		"no such subject":   {[]string{"token", "--subject=a\x00b"}, "--subject"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := prefsctl(t, nil, c.args...)
			require.Equal(t, ctl.Misused, r.code, r.err)
			require.Contains(t, r.err, c.want)
			require.Empty(t, r.out)
		})
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"PREFS_DATABASE_URL": pgtest.NewEmpty(t)}

	r := prefsctl(t, vars, "migrate", "status")
	require.Equal(t, ctl.Amiss, r.code, r.err)
	require.Regexp(t, `(?m)^VERSION +NAME +APPLIED$`, r.out)
	require.Regexp(t, `(?m)^00001 +preferences +pending$`, r.out)

	r = prefsctl(t, vars, "migrate", "up")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Regexp(t, `(?m)^00001 +preferences +applied$`, r.out)
	require.Equal(t, result{ctl.Done, "there was nothing to do\n", ""}, prefsctl(t, vars, "migrate", "up"))

	r = prefsctl(t, vars, "migrate", "status", "--json")
	require.Equal(t, ctl.Done, r.code, r.err)
	var status struct {
		Migrations []struct {
			Version   int
			Name      string
			AppliedAt *time.Time
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &status))
	require.Equal(t, "preferences", status.Migrations[0].Name)
	require.WithinDuration(t, time.Now(), *status.Migrations[0].AppliedAt, time.Minute)

	last := status.Migrations[len(status.Migrations)-1]
	r = prefsctl(t, vars, "migrate", "down")
	require.Equal(t, ctl.Done, r.code, r.err)
	require.Contains(t, r.out, last.Name)
	require.Contains(t, r.out, "taken back")
	require.Equal(t, ctl.Amiss, prefsctl(t, vars, "migrate", "status").code)

	require.Equal(t, result{ctl.Done, "the migrations are well-formed\n", ""}, prefsctl(t, nil, "migrate", "validate"))
	require.JSONEq(t, `{"valid": true}`, prefsctl(t, nil, "migrate", "validate", "--json").out)
}

func TestADatabaseThatIsAwayIsAFailure(t *testing.T) {
	t.Parallel()
	r := prefsctl(t, map[string]string{"PREFS_DATABASE_URL": "postgres://nobody:hunter2@127.0.0.1:1/none"}, "migrate", "status")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "prefsctl: ")
	require.NotContains(t, r.err, "hunter2")
	r = prefsctl(t, map[string]string{"PREFS_KAFKA_BROKERS": "127.0.0.1:1"}, "topics", "check")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "127.0.0.1:1")
}

func TestToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := prefsctl(t, nil, "token", "--subject", "alice", "--dir", dir)
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "make run")

	key, err := auth.EnsureDevKey(filepath.Join(dir, ctl.KeyFile))
	require.NoError(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuer: auth.DevIssuer, Audience: auth.DevAudience, DevKey: key}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)

	r = prefsctl(t, nil, "token", "--subject", "alice", "--dir", dir)
	require.Equal(t, ctl.Done, r.code, r.err)
	who, err := verifier.Verify(t.Context(), strings.TrimSuffix(r.out, "\n"))
	require.NoError(t, err)
	require.Equal(t, "alice", who.Subject)
	require.Empty(t, who.Scopes.Names())

	vars := map[string]string{"PREFS_AUTH_DEV_KEY_FILE": filepath.Join(dir, ctl.KeyFile)}
	r = prefsctl(t, vars, "token", "--subject", "ops", "--scope", auth.ScopeAdmin, "--scope", auth.ScopeSystem, "--json")
	require.Equal(t, ctl.Done, r.code, r.err)
	var body struct{ Token string }
	require.NoError(t, json.Unmarshal([]byte(r.out), &body))
	who, err = verifier.Verify(t.Context(), body.Token)
	require.NoError(t, err)
	require.Equal(t, []string{auth.ScopeAdmin, auth.ScopeSystem}, who.Scopes.Names())
}

func TestTopics(t *testing.T) {
	t.Parallel()
	broker, err := devkafka.Start(devkafka.Config{
		Topics: []devkafka.Topic{{Name: "account.events", Partitions: 2}},
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, broker.Close()) }()
	dir := t.TempDir()
	require.NoError(t, ctl.Environment{Brokers: broker.Addrs(), DatabaseURL: "postgres://localhost/none"}.Write(dir))
	vars := map[string]string{"PREFS_KAFKA_BROKERS": "127.0.0.1:1"} // --dir wins over it

	r := prefsctl(t, vars, "topics", "check", "--dir", dir)
	require.Equal(t, ctl.Amiss, r.code, r.err)
	table(t, `
TOPIC                     PARTITIONS  REPLICAS  STATE
account.events            2           1         present
user.events               0           0         missing
preferences.events        0           0         missing
preferences.cleaned       0           0         missing
preferences.dead-letters  0           0         missing
`, r.out)

	r = prefsctl(t, vars, "topics", "create", "--dir", dir)
	require.Equal(t, ctl.Done, r.code, r.err)
	table(t, `
TOPIC                     PARTITIONS  REPLICAS  STATE
account.events            2           1         present
user.events               6           1         created
preferences.events        6           1         created
preferences.cleaned       6           1         created
preferences.dead-letters  6           1         created
`, r.out)
	require.NotContains(t, prefsctl(t, vars, "topics", "create", "--dir", dir).out, "created")
	require.Equal(t, ctl.Done, prefsctl(t, vars, "topics", "check", "--dir", dir).code)

	r = prefsctl(t, vars, "topics", "check", "--dir", dir, "--partitions=6", "--json")
	require.Equal(t, ctl.Amiss, r.code, r.err)
	var body struct {
		Topics []struct {
			Name, State string
			Mismatches  []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &body))
	require.Equal(t, "differs", body.Topics[0].State)
	require.Equal(t, []string{"has 2 partitions instead of 6"}, body.Topics[0].Mismatches)
	require.Empty(t, body.Topics[1].Mismatches)
	require.Contains(t, prefsctl(t, vars, "topics", "check", "--dir", dir, "--partitions=6").out, "has 2 partitions instead of 6")
}

func TestTailPrintsWhatIsThereAndEnds(t *testing.T) {
	t.Parallel()
	const topic = "preferences.cleaned"
	broker, err := devkafka.Start(devkafka.Config{Topics: []devkafka.Topic{{Name: topic, Partitions: 1}}}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, broker.Close()) }()
	client, err := kafka.Open(kafka.Config{Brokers: broker.Addrs()})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	for i, value := range []string{`{"eventId": "a"}`, "no JSON", `{"eventId": "c"}`} {
		results := kafka.NewPublisher(client, kafka.PublisherConfig{}).Publish(t.Context(), []outbox.Message{
			{ID: int64(i + 1), EventID: uuid.New(), Topic: topic, Key: []byte("acc-001"), Value: []byte(value)},
		})
		require.NoError(t, errors.Join(results...))
	}
	vars := map[string]string{"PREFS_KAFKA_BROKERS": strings.Join(broker.Addrs(), ",")}

	r := prefsctl(t, vars, "topics", "tail", topic, "--count=2")
	require.Equal(t, ctl.Done, r.code, r.err)
	table(t, `
0/0  TIME  acc-001  {"eventId": "a"}
0/1  TIME  acc-001  no JSON
`, r.out)
	r = prefsctl(t, vars, "topics", "tail", topic, "--count=2", "--json")
	require.Equal(t, ctl.Done, r.code, r.err)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	require.Len(t, lines, 2)
	var second struct{ Key, Value string }
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
	require.Equal(t, "no JSON", second.Value)
	require.Equal(t, ctl.Misused, prefsctl(t, vars, "topics", "tail").code)
	r = prefsctl(t, vars, "topics", "tail", "preferences.unclean")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, `there is no topic "preferences.unclean"`)
}

func TestOutboxStatus(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	vars := map[string]string{"PREFS_DATABASE_URL": url}
	r := prefsctl(t, vars, "outbox", "status")
	require.Equal(t, ctl.Done, r.code, r.err)
	table(t, `
OUTBOX          STATE
unpublished     0
oldest          0s
relay           none has run yet
last published  0
quarantined     0
`, r.out)

	store, err := postgres.Open(postgres.Config{URL: url})
	require.NoError(t, err)
	defer store.Close()
	lists := preferences.New(preferences.Options{Store: store, Announcer: preferences.Announcer{EventsTopic: "e", CleanedTopic: "c", Source: "/prefsd/test"}})
	_, err = lists.Replace(t.Context(), "alice", "accounts", preferences.By{Actor: "alice"}, preferences.Terms{}, []preferences.Input{{EntityID: "acc-001"}})
	require.NoError(t, err)
	r = prefsctl(t, vars, "outbox", "status", "--json")
	require.Equal(t, ctl.Done, r.code, r.err)
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.out), &body))
	require.EqualValues(t, 1, body["unpublished"])
	require.Positive(t, body["oldestUnpublishedAgeSeconds"])
	require.Empty(t, body["leader"])

	r = prefsctl(t, map[string]string{"PREFS_DATABASE_URL": pgtest.NewEmpty(t)}, "outbox", "status")
	require.Equal(t, ctl.Failed, r.code)
	require.Contains(t, r.err, "prefsctl migrate up")
}

func TestTheEnvironmentFileIsWholeAndPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := ctl.Environment{APIURL: "http://127.0.0.1:8080", Brokers: []string{"127.0.0.1:9092"}, Tokens: ctl.Tokens{Alice: "a"}}
	require.NoError(t, want.Write(dir))
	got, err := ctl.ReadEnvironment(dir)
	require.NoError(t, err)
	require.Equal(t, want, got)
	text, err := os.ReadFile(filepath.Join(dir, ctl.EnvironmentFile))
	require.NoError(t, err)
	require.NotContains(t, string(text), "webUrl", "there is none to open")
	info, err := os.Stat(filepath.Join(dir, ctl.EnvironmentFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, ctl.RemoveEnvironment(dir))
	require.NoError(t, ctl.RemoveEnvironment(dir))
	_, err = ctl.ReadEnvironment(dir)
	require.ErrorContains(t, err, "make run")
	require.NoError(t, os.WriteFile(filepath.Join(dir, ctl.EnvironmentFile), []byte("{"), 0o600))
	_, err = ctl.ReadEnvironment(dir)
	require.ErrorContains(t, err, ctl.EnvironmentFile)
}
