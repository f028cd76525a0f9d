package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/prefsd/prefsd/pkg/config"
)

type settings struct {
	Deployment config.Deployment `embed:""`
	Database   config.Database   `embed:""`
	Kafka      config.Kafka      `embed:""`
	Topics     config.Topics     `embed:""`
	Relay      config.Relay      `embed:""`
	Log        config.Log        `embed:""`
	Addr       string            `name:"http-addr" default:":8080" help:"Where to listen."`
	Timeout    time.Duration     `default:"30s" help:"How long to wait."`
	Strict     config.Switch     `help:"Whether to be strict."`
	Token      config.Secret     `help:"Token to show."`
	Foreign    string            `env:"OTHER_NAME" help:"Has a variable of its own."`
	Private    string            `env:"-" help:"Has no variable."`
}

func environment(vars map[string]string) config.Lookup {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func required(more map[string]string) map[string]string {
	vars := map[string]string{"PREFS_DATABASE_URL": "postgres://u:hunter2@db/prefs", "PREFS_KAFKA_BROKERS": "a:9092,b:9092"}
	for k, v := range more {
		vars[k] = v
	}
	return vars
}

func parse(vars map[string]string, args ...string) (settings, error) {
	return config.Parse[settings]("api", "Serves lists.", args, environment(vars))
}

func TestDefaultsThenVariablesThenFlags(t *testing.T) {
	t.Parallel()
	cfg, err := parse(required(nil))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(settings{
		Deployment: config.Deployment{Cell: "main"},
		Database:   config.Database{URL: "postgres://u:hunter2@db/prefs", MaxConns: 16},
		Kafka:      config.Kafka{Brokers: []string{"a:9092", "b:9092"}, SASL: config.KafkaSASL{Mechanism: config.NoSASL}},
		Topics: config.Topics{
			AccountEvents: "account.events", UserEvents: "user.events", PreferencesEvents: "preferences.events",
			PreferencesCleaned: "preferences.cleaned", DeadLetters: "preferences.dead-letters",
		},
		Relay: config.Relay{Enabled: true, Name: "main", Retention: 24 * time.Hour},
		Log:   config.Log{Format: "json"},
		Addr:  ":8080", Timeout: 30 * time.Second,
	}, cfg))

	vars := required(map[string]string{
		"PREFS_HTTP_ADDR": ":1", "PREFS_TIMEOUT": "1s", "PREFS_STRICT": "on", "PREFS_MIGRATE": "on", "PREFS_RELAY": "off",
		"PREFS_LOG_LEVEL": "debug", "PREFS_TOPIC_USER_EVENTS": "u", "PREFS_CELL": "eu-1", "OTHER_NAME": "x", "PREFS_DATABASE_MAX_CONNS": "",
		"PREFS_PRIVATE": "ignored", "PREFS_FOREIGN": "ignored",
	})
	cfg, err = parse(vars, "--http-addr=:2", "--strict=off")
	require.NoError(t, err)
	require.Equal(t, ":2", cfg.Addr)
	require.False(t, bool(cfg.Strict))
	require.Equal(t, time.Second, cfg.Timeout)
	require.True(t, bool(cfg.Database.Migrate))
	require.False(t, bool(cfg.Relay.Enabled))
	require.Equal(t, slog.LevelDebug, cfg.Log.Level)
	require.Equal(t, "u", cfg.Topics.UserEvents)
	require.Equal(t, "eu-1", cfg.Deployment.Cell)
	require.Equal(t, "x", cfg.Foreign)
	require.Equal(t, 16, cfg.Database.MaxConns, "an empty variable is an absent one")
	require.Empty(t, cfg.Private)
}

func TestAMistakeNamesItsVariable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vars map[string]string
		args []string
		want []string
	}{
		"nothing set":         {want: []string{"not set: PREFS_DATABASE_URL (--database-url), PREFS_KAFKA_BROKERS (--kafka-brokers)"}},
		"no number":           {vars: required(map[string]string{"PREFS_DATABASE_MAX_CONNS": "many"}), want: []string{"PREFS_DATABASE_MAX_CONNS", "many"}},
		"no number, flag":     {vars: required(nil), args: []string{"--database-max-conns=many"}, want: []string{"PREFS_DATABASE_MAX_CONNS"}},
		"out of range":        {vars: required(map[string]string{"PREFS_DATABASE_MAX_CONNS": "0"}), want: []string{"PREFS_DATABASE_MAX_CONNS", "between 1 and 10000"}},
		"no duration":         {vars: required(map[string]string{"PREFS_TIMEOUT": "soon"}), want: []string{"PREFS_TIMEOUT"}},
		"neither on nor off":  {vars: required(map[string]string{"PREFS_RELAY": "perhaps"}), want: []string{"PREFS_RELAY", "on or off"}},
		"unknown level":       {vars: required(map[string]string{"PREFS_LOG_LEVEL": "loud"}), want: []string{"PREFS_LOG_LEVEL"}},
		"unknown format":      {vars: required(map[string]string{"PREFS_LOG_FORMAT": "xml"}), want: []string{"PREFS_LOG_FORMAT", "xml"}},
		"bad cell":            {vars: required(map[string]string{"PREFS_CELL": "EU 1"}), want: []string{"PREFS_CELL"}},
		"bad topic":           {vars: required(map[string]string{"PREFS_TOPIC_USER_EVENTS": "a b"}), want: []string{"PREFS_TOPIC_USER_EVENTS"}},
		"one topic for two":   {vars: required(map[string]string{"PREFS_TOPIC_USER_EVENTS": "account.events"}), want: []string{"PREFS_TOPIC_USER_EVENTS", "PREFS_TOPIC_ACCOUNT_EVENTS"}},
		"half a certificate":  {vars: required(map[string]string{"PREFS_KAFKA_TLS_ENABLED": "on", "PREFS_KAFKA_TLS_CERT_FILE": "x"}), want: []string{"PREFS_KAFKA_TLS_KEY_FILE"}},
		"TLS without TLS":     {vars: required(map[string]string{"PREFS_KAFKA_TLS_CA_FILE": "x"}), want: []string{"PREFS_KAFKA_TLS_ENABLED"}},
		"SASL without user":   {vars: required(map[string]string{"PREFS_KAFKA_SASL_MECHANISM": "PLAIN"}), want: []string{"PREFS_KAFKA_SASL_USERNAME", "PREFS_KAFKA_SASL_PASSWORD"}},
		"user without SASL":   {vars: required(map[string]string{"PREFS_KAFKA_SASL_USERNAME": "u"}), want: []string{"PREFS_KAFKA_SASL_MECHANISM"}},
		"unknown mechanism":   {vars: required(map[string]string{"PREFS_KAFKA_SASL_MECHANISM": "GSSAPI"}), want: []string{"PREFS_KAFKA_SASL_MECHANISM"}},
		"unknown flag":        {vars: required(nil), args: []string{"--databse-url=x"}, want: []string{"--databse-url"}},
		"file is missing":     {vars: map[string]string{"PREFS_DATABASE_URL_FILE": "/nowhere/at/all"}, want: []string{"PREFS_DATABASE_URL_FILE"}},
		"value and file":      {vars: required(map[string]string{"PREFS_DATABASE_URL_FILE": "/nowhere"}), want: []string{"PREFS_DATABASE_URL and PREFS_DATABASE_URL_FILE"}},
		"a word too many":     {vars: required(nil), args: []string{"serve"}, want: []string{"serve"}},
		"own variable is bad": {vars: required(map[string]string{"PREFS_STRICT": "2"}), want: []string{"PREFS_STRICT"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := parse(c.vars, c.args...)
			require.Error(t, err)
			for _, part := range c.want {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "hunter2")
			require.Empty(t, cmp.Diff(settings{}, cfg))
		})
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(path, []byte("postgres://from-file\r\n"), 0o600))
	vars := map[string]string{"PREFS_DATABASE_URL_FILE": path, "PREFS_KAFKA_BROKERS": "a:1", "PREFS_CELL_FILE": path}
	cfg, err := parse(vars)
	require.NoError(t, err)
	require.Equal(t, "postgres://from-file", cfg.Database.URL.Reveal())
	require.Equal(t, "main", cfg.Deployment.Cell, "only secrets have files")

	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err = parse(vars)
	require.ErrorContains(t, err, "PREFS_DATABASE_URL_FILE")
}

func TestHelpIsTheReference(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := config.Parse[settings]("api", "Serves lists.", []string{"--help"}, environment(nil), kong.Writers(&out, &out))
	require.ErrorIs(t, err, config.ErrHelp)
	for _, part := range []string{
		"Usage: api", "Serves lists.", "--http-addr", "$PREFS_HTTP_ADDR", ":8080", "$PREFS_DATABASE_URL, or a file named", "$PREFS_DATABASE_URL_FILE",
		"$PREFS_TOPIC_DEAD_LETTERS", "preferences.dead-letters", "$OTHER_NAME", "$PREFS_KAFKA_SASL_PASSWORD",
	} {
		require.Contains(t, out.String(), part)
	}
	require.NotContains(t, out.String(), "PREFS_PRIVATE")
	require.NotContains(t, out.String(), "PREFS_HELP")
}

type greet struct {
	Name string `name:"name" help:"Whom to greet."`
}

func (g *greet) Run(out *bytes.Buffer) error {
	_, err := fmt.Fprintf(out, "hello %s", g.Name)
	return err
}

func TestBinariesWithCommands(t *testing.T) {
	t.Parallel()
	var grammar struct {
		Greet greet `cmd:"" help:"Says hello."`
	}
	parser, err := config.New(&grammar, "ctl", "Does things.", environment(map[string]string{"PREFS_NAME": "bob"}))
	require.NoError(t, err)
	ctx, err := parser.Parse([]string{"greet"})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, ctx.Run(&out))
	require.Equal(t, "hello bob", out.String())

	_, err = config.New(42, "ctl", "", environment(nil))
	require.Error(t, err)
}

func TestDescribeShowsEverythingButSecrets(t *testing.T) {
	t.Parallel()
	cfg, err := parse(required(map[string]string{"PREFS_KAFKA_TLS_ENABLED": "on"}))
	require.NoError(t, err)
	var out bytes.Buffer
	log := config.Log{Format: "json"}.NewLogger(&out, slog.String("service", "api"))
	log.InfoContext(t.Context(), "configuration", slog.Any("config", config.Describe(&cfg)))
	require.NotContains(t, out.String(), "hunter2")

	var line struct {
		Service string         `json:"service"`
		Config  map[string]any `json:"config"`
		Time    time.Time      `json:"time"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "api", line.Service)
	require.Equal(t, time.UTC, line.Time.Location())
	for key, want := range map[string]any{
		"database_url": "[secret]", "database_max_conns": 16.0, "migrate": "off", "kafka_tls_enabled": "on", "kafka_tls_ca_file": "",
		"kafka_sasl_password": "", "token": "", "timeout": "30s", "log_level": "INFO", "http_addr": ":8080", "cell": "main", "relay": "on", "relay_name": "main",
	} {
		require.Equal(t, want, line.Config[key], key)
	}
	require.Equal(t, []any{"a:9092", "b:9092"}, line.Config["kafka_brokers"])

	require.Equal(t, "x", config.Describe("x").String())
}

func TestLoggersKeepTheirLevelAndForm(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := config.Log{Level: slog.LevelWarn, Format: "text"}.NewLogger(&out)
	log.InfoContext(t.Context(), "quiet")
	require.Empty(t, out.String())
	log.WarnContext(t.Context(), "loud")
	require.Contains(t, out.String(), "level=WARN msg=loud")
}
