package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

// Deployment says which deployment a process belongs to.
type Deployment struct {
	Cell        string `name:"cell" default:"main" help:"Name of this deployment; events carry it in their source."`
	DomainsFile string `name:"domains-file" type:"path" help:"JSON file with the domains; empty means the built-in ones."`
}

var cellName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate refuses a cell that cannot stand in a URI.
func (d Deployment) Validate() error {
	if d.Cell != "" && !cellName.MatchString(d.Cell) {
		return fmt.Errorf("--cell must be up to 63 lower-case letters, digits and hyphens, not %q", d.Cell)
	}
	return nil
}

// Database says how PostgreSQL is reached.
type Database struct {
	URL      Secret `name:"database-url" required:"" help:"PostgreSQL connection string; connections must be direct or session-pooled."`
	MaxConns int    `name:"database-max-conns" default:"16" help:"Connections to PostgreSQL at most."`
	Migrate  Switch `name:"migrate" default:"off" help:"Whether to run pending migrations at start: on or off."`
}

// Validate refuses a pool that cannot hold a connection.
func (d Database) Validate() error {
	if d.MaxConns < 1 || d.MaxConns > 10_000 {
		return fmt.Errorf("--database-max-conns must be between 1 and 10000, not %d", d.MaxConns)
	}
	return nil
}

// Kafka says how the brokers are reached.
type Kafka struct {
	Brokers []string  `name:"kafka-brokers" required:"" placeholder:"HOST:PORT" help:"Brokers to start from, separated by commas."`
	TLS     KafkaTLS  `embed:"" prefix:"kafka-tls-"`
	SASL    KafkaSASL `embed:"" prefix:"kafka-sasl-"`
}

// KafkaTLS encrypts the connections to the brokers.
type KafkaTLS struct {
	Enabled    Switch `name:"enabled" default:"off" help:"Whether to speak TLS to the brokers: on or off."`
	CAFile     string `name:"ca-file" help:"PEM file with the authorities to trust; empty means those of the system."`
	CertFile   string `name:"cert-file" help:"PEM file with the client certificate, if the brokers ask for one."`
	KeyFile    string `name:"key-file" help:"PEM file with the key of the client certificate."`
	ServerName string `name:"server-name" help:"Name to expect in the brokers' certificates; empty means the host dialled."`
}

// Validate refuses half a client certificate, and TLS settings without TLS.
func (t KafkaTLS) Validate() error {
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return errors.New("--kafka-tls-cert-file and --kafka-tls-key-file must be given together")
	case !bool(t.Enabled) && t != KafkaTLS{}:
		return errors.New("--kafka-tls-enabled must be on for the other TLS settings to have an effect")
	}
	return nil
}

// KafkaSASL authenticates to the brokers.
type KafkaSASL struct {
	Mechanism string `name:"mechanism" default:"none" enum:"none,PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" help:"How to authenticate: none, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."`
	Username  string `name:"username" help:"User to authenticate as."`
	Password  Secret `name:"password" help:"Password to authenticate with."`
}

// NoSASL is the mechanism that does not authenticate.
const NoSASL = "none"

// Enabled reports whether to authenticate at all.
func (s KafkaSASL) Enabled() bool { return s.Mechanism != "" && s.Mechanism != NoSASL }

// Validate refuses a mechanism without credentials, and the reverse.
func (s KafkaSASL) Validate() error {
	switch {
	case s.Enabled() && (s.Username == "" || s.Password == ""):
		return errors.New("--kafka-sasl-username and --kafka-sasl-password must be given for --kafka-sasl-mechanism")
	case !s.Enabled() && (s.Username != "" || s.Password != ""):
		return errors.New("--kafka-sasl-mechanism must be chosen for the credentials to have an effect")
	}
	return nil
}

// Topics names the topics that are read and written.
type Topics struct {
	AccountEvents      string `name:"topic-account-events" default:"account.events" help:"Topic to read events about accounts from."`
	UserEvents         string `name:"topic-user-events" default:"user.events" help:"Topic to read events about users from; empty if nobody announces them."`
	PreferencesEvents  string `name:"topic-preferences-events" default:"preferences.events" help:"Topic for changes of lists."`
	PreferencesCleaned string `name:"topic-preferences-cleaned" default:"preferences.cleaned" help:"Topic for lists that lost a deleted entity."`
	DeadLetters        string `name:"topic-dead-letters" default:"preferences.dead-letters" help:"Topic for events that cannot be processed."`
}

// Own are the topics that the product publishes to.
func (t Topics) Own() []string {
	return []string{t.PreferencesEvents, t.PreferencesCleaned, t.DeadLetters}
}

// Validate refuses names that Kafka does not take, and one name for two topics.
func (t Topics) Validate() error {
	seen := map[string]string{}
	for flag, name := range map[string]string{
		"--topic-account-events":      t.AccountEvents,
		"--topic-user-events":         t.UserEvents,
		"--topic-preferences-events":  t.PreferencesEvents,
		"--topic-preferences-cleaned": t.PreferencesCleaned,
		"--topic-dead-letters":        t.DeadLetters,
	} {
		if name == "" && flag == "--topic-user-events" {
			continue
		}
		if !topicName.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("%s must be a Kafka topic name, not %q", flag, name)
		}
		if other, taken := seen[name]; taken {
			return fmt.Errorf("%s and %s must be two topics, not both %q", min(flag, other), max(flag, other), name)
		}
		seen[name] = flag
	}
	return nil
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Relay says whether a process takes part in publishing events.
type Relay struct {
	Enabled Switch `name:"relay" default:"on" help:"Whether this process may become the one that publishes events: on or off."`
	Name    string `name:"relay-name" default:"main" help:"Which relay of the database this is; processes of one name share its lease and its cursor."`

	Retention time.Duration `name:"outbox-retention" default:"24h" help:"How long published events stay in the outbox, to be looked at or replayed."`
}

// Validate refuses a relay without a name, and one that forgets at once.
func (r Relay) Validate() error {
	if r.Retention < 0 {
		return fmt.Errorf("--outbox-retention must not be negative, not %s", r.Retention)
	}
	if r.Enabled && r.Name == "" {
		return errors.New("--relay-name must not be empty")
	}
	return nil
}

// Log says how much is logged and in which form.
type Log struct {
	Level  slog.Level `name:"log-level" default:"info" help:"Least level that is logged: debug, info, warn or error."`
	Format string     `name:"log-format" default:"json" enum:"json,text" help:"Form of log lines: json or text."`
}

// NewLogger returns a logger that writes to w, in UTC, with the attributes on
// every line.
func (l Log) NewLogger(w io.Writer, attrs ...slog.Attr) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level, ReplaceAttr: inUTC}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if l.Format == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(handler.WithAttrs(attrs))
}

func inUTC(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}

// Switch is a setting that is on or off.
type Switch bool

// UnmarshalText reads on, true, yes, 1 and their opposites.
func (s *Switch) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "on", "true", "yes", "1":
		*s = true
	case "off", "false", "no", "0":
		*s = false
	default:
		return fmt.Errorf("must be on or off, not %q", text)
	}
	return nil
}

// String is on or off.
func (s Switch) String() string {
	if s {
		return "on"
	}
	return "off"
}

// MarshalText is String for encoders.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Directory says where the owner of the first domain's entities is asked which of
// them exist.
type Directory struct {
	URL   string `name:"url" help:"Where the owner of accounts is asked which of them exist, such as https://accounts.example.com/accounts; empty means that nobody is asked."`
	Token Secret `name:"token" help:"Bearer token for it, if it wants one."`
}
