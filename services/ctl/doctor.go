package ctl

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/config"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/postgres"
)

type doctorCommand struct {
	database
	anyCluster
	consumption

	Relay          string        `name:"relay-name" default:"main" help:"Which relay: a deployment has one."`
	Retention      time.Duration `name:"outbox-retention" default:"24h" help:"How long the relay keeps published events."`
	DirectoryURL   string        `name:"directory-url" help:"Where the owner of accounts is asked which of them exist; empty means that it is not checked."`
	DirectoryToken config.Secret `name:"directory-token" help:"Bearer token for it, if it wants one."`
	APIURL         string        `name:"api-url" help:"Where the API answers, such as https://prefs.example.com; empty means that it is not checked."`
	APIToken       config.Secret `name:"api-token" help:"Bearer token with the scope preferences.system, to read how the deployment stands."`
	JWKSURL        string        `name:"auth-jwks-url" help:"Where the issuer of tokens publishes its keys; empty means that it is not checked."`
	Timeout        time.Duration `name:"timeout" env:"-" default:"10s" help:"How long one check may take."`
}

// Validate refuses a check that cannot be made.
func (c *doctorCommand) Validate() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be positive, not %s", c.Timeout)
	}
	return nil
}

// verdict is how one thing stands.
type verdict string

const (
	well    verdict = "OK"
	worry   verdict = "WARN" // it works, and may not for long
	failure verdict = "FAIL" // it does not work
	skipped verdict = "SKIP"
)

type diagnosis struct {
	Check string  `json:"check"`
	State verdict `json:"state"`
	Says  string  `json:"says"`
	Next  string  `json:"next"` // what to do about it
}

// checkup collects what the checks say, in order.
type checkup struct {
	*doctorCommand
	found []diagnosis
	now   func() time.Time
}

func (c *checkup) say(check string, state verdict, says, next string) {
	c.found = append(c.found, diagnosis{check, state, says, next})
}

// judge says the first that applies, or that all is well.
func (c *checkup) judge(check, says string, complaints ...complaint) {
	for _, bad := range complaints {
		if bad.applies {
			c.say(check, bad.state, says+bad.because, bad.next)
			return
		}
	}
	c.say(check, well, says, "")
}

type complaint struct {
	applies       bool
	state         verdict
	because, next string
}

// Run makes every check that it can, also where earlier ones fail.
func (c *doctorCommand) Run(ctx context.Context, out *output) error {
	all := &checkup{doctorCommand: c, now: time.Now}
	healthy := false
	err := c.with(func(db *sql.DB) error {
		healthy = all.server(ctx, db) && all.schema(ctx, db)
		if healthy {
			all.rows(ctx, db)
		}
		all.brokers(ctx, db, healthy)
		return nil
	})
	if err != nil {
		return err
	}
	all.api(ctx)
	all.strangers(ctx)
	rows, failed := make([][]string, len(all.found)), 0
	for i, d := range all.found {
		rows[i] = []string{d.Check, string(d.State), d.Says, d.Next}
		if d.State == failure {
			failed++
		}
	}
	if err := out.show(map[string]any{"failed": failed, "checks": all.found}, []string{"CHECK", "STATE", "WHAT", "NEXT"}, rows); err != nil {
		return err
	}
	if failed > 0 {
		return errAmiss
	}
	return nil
}

// oldestServer is the first version of PostgreSQL that the statements fit.
const oldestServer = 150000

// server looks at PostgreSQL itself, and says whether it answers.
func (c *checkup) server(ctx context.Context, db *sql.DB) bool {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := postgres.Examine(ctx, db)
	if err != nil {
		c.say("database", failure, err.Error(), "see that PostgreSQL runs and that PREFS_DATABASE_URL names it, a role and its password")
		return false
	}
	c.judge("database", "PostgreSQL "+s.Version+" at "+s.Address,
		complaint{s.Number < oldestServer, failure, ", which is too old", "move to PostgreSQL 15 or newer"},
		complaint{s.Standby, failure, ", a standby that takes no writes", "name the primary in PREFS_DATABASE_URL; a standby belongs into PREFS_DATABASE_REPLICA_URL"},
		complaint{s.Settings["default_transaction_read_only"] == "on", failure, ", on which transactions only read", "set default_transaction_read_only to off"})
	c.settings(s)
	c.clock(s)
	free := s.MaxConns - s.Connections
	c.judge("connections", fmt.Sprintf("%d of %d in use", s.Connections, s.MaxConns),
		complaint{free < s.MaxConns/10, worry, "", "raise max_connections, or lower PREFS_DATABASE_MAX_CONNS of the services"})
	const long, frozen = 15 * time.Minute, 1_000_000_000
	c.judge("transactions", fmt.Sprintf("the oldest has been open for %s", s.OldestWork.Round(time.Second)),
		complaint{s.OldestWork > long, worry, "", "find it in pg_stat_activity: vacuum cannot remove what is younger, and the relay may wait for it"},
		complaint{s.UnfrozenAge > frozen, worry, "; numbers are running out", "see why autovacuum does not freeze this database"})
	return true
}

func (c *checkup) settings(s postgres.Server) {
	var wrong []string
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit", "autovacuum"} {
		if s.Settings[name] == "off" {
			wrong = append(wrong, name+"=off")
		}
	}
	if cut := s.Settings["idle_session_timeout"]; cut != "" && cut != "0" {
		wrong = append(wrong, "idle_session_timeout="+cut)
	}
	if len(wrong) > 0 {
		c.say("settings", worry, strings.Join(wrong, ", "), "set them to their defaults: a crash may lose acknowledged saves, or connections are cut")
		return
	}
	c.say("settings", well, "fsync, full_page_writes, synchronous_commit and autovacuum are on", "")
}

// clock compares the server's with ours: events from the future are refused.
func (c *checkup) clock(s postgres.Server) {
	const some, much = time.Second, 5 * time.Minute
	apart := s.Ahead.Abs() - s.Uncertain
	c.judge("clock", fmt.Sprintf("PostgreSQL is %s ahead of this machine", s.Ahead.Round(time.Millisecond)),
		complaint{apart > much, failure, "", "let both follow a time server: events more than 5 minutes ahead become dead letters"},
		complaint{apart > some, worry, "", "let both follow a time server"})
}

// schema says whether the tables are those of this release and may be used.
func (c *checkup) schema(ctx context.Context, db *sql.DB) bool {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := migrated(ctx, db); err != nil {
		c.say("schema", failure, err.Error(), "run prefsctl migrate up")
		return false
	}
	c.say("schema", well, "no migration is pending", "")
	denied, err := postgres.Denied(ctx, db)
	if err != nil {
		c.say("privileges", failure, err.Error(), "")
		return false
	}
	c.judge("privileges", "the role may do what the services do",
		complaint{len(denied) > 0, failure, ", except " + some(denied), "grant them to the role of PREFS_DATABASE_URL"})
	return true
}

// some names a few of many.
func some(all []string) string {
	const few = 3
	if len(all) <= few {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:few], ", ") + " and " + strconv.Itoa(len(all)-few) + " more"
}

// rows looks at what the services have written down.
func (c *checkup) rows(ctx context.Context, db *sql.DB) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	const due = time.Minute
	w, err := postgres.WorkNow(ctx, db, due)
	if err != nil {
		c.say("operations", failure, err.Error(), "")
		return
	}
	s, err := postgres.OutboxStatus(ctx, c.URL.Reveal(), c.Relay)
	if err != nil {
		c.say("outbox", failure, err.Error(), "")
		return
	}
	c.outbox(s, w)
	c.judge("operations", fmt.Sprintf("%d open, %d of them stuck, %d failed in the last day", w.Open, w.Stuck, w.Failed),
		complaint{w.Stuck > 0, failure, "", "see that a consumer runs: it works on them; prefsctl operations ls shows them"},
		complaint{w.Failed > 0, worry, "", "prefsctl operations ls --state failed, then show, says why"})
	const stale = 30 * time.Second
	c.judge("consumer lag", fmt.Sprintf("%d records wait in %d partitions, as consumers wrote %s ago", w.Lag, w.Lags, w.LagAge.Round(time.Second)),
		complaint{w.Lags == 0, skipped, "", "no consumer has written how far it is"},
		complaint{w.LagAge > stale, worry, "", "see that a consumer runs: they write every few seconds"})
}

func (c *checkup) outbox(s postgres.OutboxState, w postgres.Work) {
	const late, tooLate, many = 30 * time.Second, 5 * time.Minute, 10_000_000
	c.judge("relay", relay(s),
		complaint{s.NeedsReanchor, failure, "", "the database was restored or failed over: prefsctl outbox reanchor --dry-run"},
		complaint{s.Paused, worry, "", "prefsctl outbox resume, once what it was paused for is over"},
		complaint{s.Leader == "", failure, "", "start a consumer or an api with PREFS_RELAY=on that reaches the brokers"})
	c.judge("outbox", fmt.Sprintf("%s unpublished, the oldest for %s; about %d rows", unpublished(s), s.OldestAge.Round(time.Second), w.Rows),
		complaint{s.OldestAge > tooLate, failure, "", "see the relay and the brokers; prefsctl outbox status --watch shows it drain"},
		complaint{s.OldestAge > late, worry, "", "see the relay and the brokers; prefsctl outbox status --watch shows it drain"},
		complaint{w.Rows > many, worry, "", "published events go after PREFS_OUTBOX_RETENTION: see whether the leader prunes"})
	c.judge("quarantine", quarantined(s),
		complaint{s.Quarantined > s.Decided, failure, "", "prefsctl outbox quarantine ls, then release or drop"},
		complaint{s.Quarantined > 0, worry, "", "the relay's leader carries decisions out"})
}

// brokers looks at Kafka.
func (c *checkup) brokers(ctx context.Context, db *sql.DB, healthy bool) {
	if !c.given() {
		c.say("brokers", skipped, "none are given", "name them in PREFS_KAFKA_BROKERS")
		return
	}
	err := c.cluster().with(func(client *kafka.Client) error {
		if c.topics(ctx, client) {
			c.group(ctx, client)
			c.letters(ctx, db, client, healthy)
		}
		return nil
	})
	if err != nil {
		c.say("brokers", failure, err.Error(), "see PREFS_KAFKA_BROKERS, PREFS_KAFKA_TLS_* and PREFS_KAFKA_SASL_*")
	}
}
